"""`/healthz` is red when a change would not be noticed, and the scheduler looks when it must."""

import asyncio
import urllib.error
import urllib.request

import pytest

from registrar.cluster import Cluster, ClusterError
from registrar.health import Heartbeat
from registrar.scheduler import Scheduler, spread
from registrar.serving import serve
from registrar.transport import Answer, Request, Unreachable


class Server:
    """Kubernetes with one object, for whoever lists it."""

    def __init__(self) -> None:
        self.time = 0.0
        self.version = "1"
        self.down = False
        self.requests = 0

    async def send(self, request: Request) -> Answer:
        self.requests += 1
        if self.down:
            raise Unreachable("https://kubernetes does not answer")
        item = {"metadata": {"namespace": "here", "name": "shop", "resourceVersion": self.version}}
        return Answer(status=200, body={"items": [item]})

    def heartbeat(self, *namespaces: str) -> Heartbeat:
        cluster = Cluster("https://kubernetes", self.send)
        return Heartbeat(cluster=cluster, namespaces=namespaces, clock=lambda: self.time)

    def beats(self, heartbeat: Heartbeat, seconds: float) -> None:
        """Let time pass, with a beat every 30 s."""
        for _ in range(int(seconds / 30)):
            self.time += 30
            asyncio.run(heartbeat.beat())


def red(heartbeat: Heartbeat) -> str:
    """Why it is red, or nothing."""
    return heartbeat.trouble or ""


def test_kubernetes_that_does_not_answer_makes_it_red() -> None:
    server = Server()
    heartbeat = server.heartbeat()
    heartbeat.saw("here", "shop", "1")
    server.beats(heartbeat, 60)
    assert red(heartbeat) == ""
    server.down = True
    server.beats(heartbeat, 90)
    assert red(heartbeat) == ""
    server.beats(heartbeat, 30)
    assert red(heartbeat) == "RestateServices could not be listed for 120 s: https://kubernetes does not answer"
    server.down = False
    server.beats(heartbeat, 30)
    assert red(heartbeat) == ""


def test_a_loop_that_hangs_makes_it_red() -> None:
    server = Server()
    heartbeat = server.heartbeat()
    server.beats(heartbeat, 30)
    server.time += 101
    assert "could not be listed for 101 s" in red(heartbeat)


def test_a_watch_that_does_not_deliver_makes_it_red() -> None:
    server = Server()
    heartbeat = server.heartbeat()
    heartbeat.saw("here", "shop", "1")
    server.version = "2"
    server.beats(heartbeat, 90)
    assert red(heartbeat) == ""
    server.beats(heartbeat, 30)
    assert red(heartbeat) == "the watch is dead: it has not told of here/shop for over 60 s"
    heartbeat.saw("here", "shop", "2")
    assert red(heartbeat) == ""


def test_a_watch_that_is_ahead_of_the_list_is_alive() -> None:
    server = Server()
    heartbeat = server.heartbeat()
    heartbeat.saw("here", "shop", "7")
    server.beats(heartbeat, 300)
    assert red(heartbeat) == ""


def test_lists_are_few_however_many_namespaces() -> None:
    server = Server()
    heartbeat = server.heartbeat(*(f"n{number}" for number in range(100)))
    asyncio.run(heartbeat.beat())
    assert server.requests / heartbeat.interval <= 0.5
    assert server.heartbeat().interval == 30


def test_no_list_ends_the_heartbeat() -> None:
    """Its loop goes on after one that makes no sense, red once that lasts, and green again."""
    server = Server()
    heartbeat = server.heartbeat()
    heartbeat.saw("here", "shop", "1")
    server.version = "no number"
    server.beats(heartbeat, 120)
    assert "could not be listed for 120 s: ValueError" in red(heartbeat)
    server.version = "1"
    server.beats(heartbeat, 30)
    assert red(heartbeat) == ""


def test_health_and_metrics_are_served() -> None:
    why: list[str | None] = [None]
    server = serve("127.0.0.1", 0, lambda: why[0])
    base = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with urllib.request.urlopen(f"{base}/healthz") as answer:
            assert answer.read() == b"ok\n"
        with urllib.request.urlopen(f"{base}/metrics") as answer:
            assert b"registrar_api_calls_total" in answer.read()
        why[0] = "the watch is dead"
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(f"{base}/healthz")
        with raised.value as error:
            assert (error.code, error.read()) == (503, b"the watch is dead\n")
    finally:
        server.shutdown()
        server.server_close()


def test_many_objects_are_looked_at_less_often() -> None:
    assert [spread(30.0, count) for count in (1, 5, 10, 50, 1000)] == [30, 30, 60, 300, 300]
    assert spread(10.0, 1000) == 10
    assert spread(300.0, 1) == 300


def test_one_pass_at_a_time_and_again_when_told() -> None:
    running, most, passes = 0, 0, 0

    async def run(namespace: str, name: str) -> float | None:
        nonlocal running, most, passes
        running, passes = running + 1, passes + 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        if passes == 1:
            raise ClusterError("not now")
        return 300.0 if passes == 2 else None

    async def live() -> None:
        scheduler = Scheduler(run)
        for _ in range(3):
            scheduler.wake("here", "shop")
        async with asyncio.timeout(20):
            while passes < 3:
                await asyncio.sleep(0.02)
                if passes == 2:
                    scheduler.wake("here", "shop")
        await scheduler.close()

    asyncio.run(live())
    assert (most, passes) == (1, 3)
