"""Faults between parts: a cut network, and a request that is killed on its way."""

import http.client
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tandem.declarations import Task
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.load import Call, enqueue
from tests.chaos.processes import Process
from tests.chaos.proxies import Proxy
from tests.chaos.system import System
from tests.chaos.waiting import until

__all__ = ["FAULTS"]

_REQUEST_SECONDS: Final = 30.0

_proxies: dict[str, Proxy] = {}


@contextmanager
def _through_proxies(system: System) -> Iterator[Call]:
    """Have workers, service and relay reach PostgreSQL and Redis through a proxy each; callers go there directly."""
    ports = next(iter(system.servers.values())).ports
    with Proxy(ports.postgres) as postgres, Proxy(ports.redis) as redis:
        _proxies.update(postgres=postgres, redis=redis)
        environment = system.environment()
        system.overrides.update(
            DATABASE_URL=environment["DATABASE_URL"].replace(f":{ports.postgres}/", f":{postgres.port}/"),
            TANDEM_BROKER_URL=environment["TANDEM_BROKER_URL"].replace(f":{ports.redis}/", f":{redis.port}/"),
        )
        system.replace(*system.processes)
        try:
            yield enqueue
        finally:
            system.overrides.clear()
            _proxies.clear()
            system.replace(*system.processes)


def _cut(scene: Scene, name: str) -> float:
    proxy = _proxies[name]
    before = proxy.swallowed
    proxy.cut()
    time.sleep(scene.pause)
    until(lambda: proxy.swallowed > before, "something was sent into the cut")
    proxy.mend()
    return time.time()


@contextmanager
def _through_web(system: System) -> Iterator[Call]:
    """Have the load come through a site, one request for each call."""
    port = next(iter(system.servers.values())).ports.web
    site = Process(
        name="web",
        command=(
            *("-m", "gunicorn", "tests.chaos.web:application()", "--bind", f"127.0.0.1:{port}"),
            *("--workers", "1", "--worker-class", "gthread", "--threads", "4", "--no-control-socket"),
        ),
        environment=system.environment,
        folder=system.folder,
        deaths=system.deaths,
        probe=lambda: _answers(port),
    )

    def call(task: Task, number: int, *, engine: str, owner: str) -> str | None:
        query = urllib.parse.urlencode({"task": task.name, "number": number, "engine": engine, "owner": owner})
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/enqueue?{query}", timeout=_REQUEST_SECONDS) as answer:
                return str(answer.read().decode())
        except (OSError, http.client.HTTPException):
            return None

    system.processes["web"] = site
    try:
        system.restart("web")
        yield call
    finally:
        site.reap()
        del system.processes["web"]


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _kill_web(scene: Scene) -> float:
    """When a request has enqueued and not yet committed."""

    def in_the_middle() -> int:
        lines = scene.system.lines()
        ended = {line.execution for line in lines if line.event == "request-end"}
        return sum(line.event == "request-start" and line.execution not in ended for line in lines)

    cut = until(in_the_middle, "a request is being served")
    at = scene.system.processes["web"].kill()
    scene.notes.append(f"{cut} request(s) had enqueued and not committed")
    scene.system.restart("web")
    return at


FAULTS: Final = (
    Fault(name="web", title="kill -9 web in the middle of a request", inject=_kill_web, setting=_through_web),
    Fault(
        name="cut-redis",
        title="the network to Redis cut",
        inject=lambda scene: _cut(scene, "redis"),
        setting=_through_proxies,
    ),
    Fault(
        name="cut-postgres",
        title="the network to PostgreSQL cut",
        inject=lambda scene: _cut(scene, "postgres"),
        setting=_through_proxies,
        of_the_ledger=True,
    ),
)
