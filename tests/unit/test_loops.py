"""Loops that must not end: what a round raises is told, once for each cause, and the next round comes."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tandem import BrokerUnavailable, LedgerUnavailable
from tandem.configuration import RestateOptions
from tandem.engines.celery.prefork import PreforkSupervisor
from tandem.engines.restate.tracker import ProgressPublisher
from tandem.exceptions import AttemptOver
from tandem.execution.leases import Heartbeat
from tandem.execution.runner import Runner
from tandem.exporter import Reading
from tandem.probes.health import ALIVE, READY, Health
from tandem.probes.loops import HANGS_SECONDS, Loop, Watch
from tests.integration.waiting import until


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    health = Health(clock=clock)
    health.begin()
    return health


def throw(error: BaseException) -> None:
    raise error


def says(health: Health, path: str) -> tuple[int, str]:
    answer = health.routes()[path]({})
    return int(answer.status), answer.body.strip()


@pytest.fixture
def running() -> Iterator[Callable[[Loop], Loop]]:
    loops: list[Loop] = []

    def run(loop: Loop) -> Loop:
        loops.append(loop)
        loop.start()
        return loop

    yield run
    for loop in loops:
        loop.stop(within=10)


@pytest.mark.parametrize(
    "error",
    [
        LedgerUnavailable("the database ends"),
        KeyError("a bug"),
        AttemptOver("it is over"),
        SystemExit(1),
        MemoryError(),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_nothing_ends_a_loop(error: BaseException, running: Callable[[Loop], Loop]) -> None:
    rounds, waits = threading.Semaphore(0), threading.Semaphore(0)

    def fail() -> float:
        rounds.release()
        raise error

    def fail_to_wait(_: float) -> bool:
        waits.release()
        raise error

    running(Loop(name="Rounds", round=fail, pause=0.001))
    running(Loop(name="Waits", round=lambda: 0.001, wait=fail_to_wait))
    for times in (rounds, waits):
        for _ in range(3):
            assert times.acquire(timeout=30)


def test_an_async_loop_goes_on_too_until_it_is_cancelled() -> None:
    async def go() -> int:
        rounds = 0
        enough = asyncio.Event()

        def fail() -> float:
            nonlocal rounds
            rounds += 1
            if rounds == 3:
                enough.set()
            raise KeyError("a bug")

        watch = Watch()
        task = asyncio.create_task(Loop(name="Rounds", round=fail, pause=0.001, watch=watch).arun())
        await asyncio.wait_for(enough.wait(), 30)
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()
        return rounds

    assert asyncio.run(go()) == 3


def test_a_cause_is_logged_once_however_often_it_comes(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop(name="Rounds", round=lambda: 1.0)
    for number in range(5):
        with loop.guarded("A part"):
            throw(LedgerUnavailable(f"no answer at 127.0.0.1:{5000 + number} for {number} s"))
        with loop.guarded("A part"):
            throw(KeyError(f"row-{number}"))
    assert [(record.levelno, bool(record.exc_info)) for record in caplog.records] == [
        (logging.WARNING, False),
        (logging.ERROR, True),
    ]
    with loop.guarded("A part"):
        pass
    assert caplog.messages[-1] == "A part works again."


def test_a_broker_that_is_away_is_logged_once_for_all_that_needs_it(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop(name="Rounds", round=lambda: 1.0)
    for text in ("Redis refused.", "Redis refused. Not tried again for 2.0 s."):
        for part in ("Sending", "Waking"):
            with loop.guarded(part):
                throw(BrokerUnavailable(text))
    for part in ("Sending", "Waking"):
        with loop.guarded(part):
            pass
    assert caplog.messages == ["Sending failed, and is tried again: Redis refused.", "Sending works again."]


def test_a_part_that_fails_is_red_by_name_after_its_patience_and_green_once_it_works(
    health: Health, clock: Clock
) -> None:
    loop = Loop(name="The relay", round=lambda: 1.0, patience=15, watch=health)
    for _ in range(4):
        with loop.guarded("Sending"):
            throw(LedgerUnavailable("Redis does not answer."))
        clock.now += 5
        loop.beat()
    assert says(health, READY) == (503, "Not ready: Sending has failed for 20 s: Redis does not answer.")
    assert says(health, ALIVE) == (200, "alive")
    with loop.guarded("Sending"):
        pass
    assert says(health, READY) == (200, "ready")
    # What is not tried again is no trouble for ever.
    for _ in range(4):
        with loop.guarded("Sending"):
            throw(LedgerUnavailable("Redis does not answer."))
        clock.now += 5
        loop.beat()
    clock.now += 60
    loop.beat()
    assert says(health, READY) == (200, "ready")


@pytest.mark.parametrize(
    ("error", "alive"),
    [(LedgerUnavailable("it can only be read"), 200), (RuntimeError("a bug"), 503)],
    ids=["expected", "unexpected"],
)
def test_only_what_a_restart_can_mend_has_the_process_restarted(
    health: Health, clock: Clock, running: Callable[[Loop], Loop], error: Exception, alive: int
) -> None:
    turns = threading.Semaphore(0)

    def fail() -> float:
        clock.now += 10
        turns.release()
        raise error

    running(Loop(name="The heartbeat", round=fail, pause=0.001, patience=15, watch=health))
    for _ in range(int(HANGS_SECONDS / 10) + 4):
        assert turns.acquire(timeout=30)
    assert says(health, READY)[0] == 503
    assert str(error) in says(health, READY)[1]
    assert says(health, ALIVE)[0] == alive


def test_a_loop_that_hangs_is_red_and_one_that_was_told_to_end_is_not(health: Health, clock: Clock) -> None:
    hung = threading.Event()
    loop = Loop(name="The heartbeat", round=lambda: float(hung.wait(30)), patience=15, watch=health)
    loop.start()
    until(lambda: "The heartbeat" in health._turning, "it does not start")
    clock.now += 16
    assert says(health, READY) == (503, "Not ready: The heartbeat has not turned for 16 s.")
    assert says(health, ALIVE) == (200, "alive")
    clock.now += HANGS_SECONDS
    assert says(health, ALIVE) == (503, "Not alive: The heartbeat has not turned for 316 s.")
    hung.set()
    loop.stop(within=10)
    assert says(health, ALIVE) == (200, "alive")
    assert says(health, READY) == (200, "ready")


def test_a_start_that_hangs_is_restarted(clock: Clock) -> None:
    health = Health(clock=clock)
    assert says(health, READY) == (503, "Not ready: It starts.")
    clock.now += HANGS_SECONDS + 1
    assert says(health, ALIVE) == (503, "Not alive: The start has not turned for 301 s.")


class Thrown:
    """What a loop of the code base calls: it fails, and counts how often."""

    def __init__(self) -> None:
        self.times = threading.Semaphore(0)

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.times.release()
        raise KeyError("a bug")

    def __getattr__(self, name: str) -> Any:
        return self


def heartbeat(thrown: Any, watch: Watch) -> tuple[Callable[[], None], Callable[[], None]]:
    made = Heartbeat(
        worker="w",
        kind="worker",
        engine="celery",
        queues=(),
        concurrency=1,
        lease_seconds=0.003,
        leases=thrown,
        on_lease_lost=thrown,
        on_cancel_requested=thrown,
        overdue=thrown,
        watch=watch,
    )
    return made.start, made.stop


def parent(thrown: Any, watch: Watch) -> tuple[Callable[[], None], Callable[[], None]]:
    runner = Runner(lease_seconds=1, max_result_bytes=1, max_lost_leases=1)
    made = PreforkSupervisor(runner=runner, pool=thrown, grace=1, seats=thrown, watch=watch)
    return made.start, made.stop


def reading(thrown: Any, watch: Watch) -> tuple[Callable[[], None], Callable[[], None]]:
    made = Reading(name="celery", read=thrown, interval=0.001, watch=watch)
    return made.loop.start, made.loop.stop


@pytest.mark.parametrize("make", [heartbeat, parent, reading], ids=lambda make: str(make.__name__))
def test_each_loop_of_a_process_goes_on_and_says_what_failed(make: Callable[..., Any]) -> None:
    thrown, watch = Thrown(), Watch()
    start, stop = make(thrown, watch)
    start()
    try:
        for _ in range(3):
            assert thrown.times.acquire(timeout=30), "it ended"
        until(lambda: watch._troubles, "it does not say so")
        assert any("KeyError: 'a bug'" in trouble.reason for trouble in watch._troubles.values())
    finally:
        stop()


def test_progress_that_cannot_be_mirrored_ends_no_mirroring() -> None:
    thrown: Any = Thrown()
    mirror = ProgressPublisher(options=RestateOptions(), _client=thrown)
    try:
        for number in range(2):
            mirror.put(f"id-{number}", {})
            assert thrown.times.acquire(timeout=30), "it ended"
    finally:
        mirror.stop()
