"""The attempts of one process: none is taken for another of the same execution, and a signal's handler may look."""

import signal
from types import FrameType
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from tandem.exceptions import AttemptOver
from tandem.execution.attempt import Attempt
from tandem.execution.leases import ActiveAttempts
from tandem.ledger.hot.claims import heartbeat
from tandem.ledger.identity import new_id, process_name
from tandem.ledger.rows import Claim


def attempt(id_: UUID, fence: int) -> Attempt:
    """An attempt as a claim of this process makes it."""
    now = timezone.now()
    claim = Claim(
        id=id_,
        task="t",
        queue="q",
        priority=0,
        arguments={"args": [], "kwargs": {}},
        engine="celery",
        reason="default",
        owner=None,
        parent=None,
        trace=None,
        idempotency_key=None,
        fence=fence,
        worker="w",
        attempts=0,
        lost_leases=0,
        dispatch_number=1,
        worker_ids=[],
        errors=[],
        created_at=now,
        started_at=now,
        last_attempted_at=now,
        cancel_requested=False,
    )
    return Attempt(claim=claim, lease_seconds=30, max_result_bytes=1_000)


def test_a_late_answer_ends_the_attempt_that_was_asked_about_and_none_after_it() -> None:
    id_ = new_id()
    running = ActiveAttempts()
    first, second = attempt(id_, 1), attempt(id_, 2)
    running.add(first)
    asked = running.leases()
    running.remove(first)
    running.add(second)
    for lease in asked:
        running.lose(lease)
        running.cancel(lease)
    assert second.over is None
    second.guard()


@pytest.mark.parametrize("newer_first", [False, True])
def test_of_two_attempts_of_one_execution_the_older_is_over(newer_first: bool) -> None:  # noqa: FBT001  # a parameter
    id_ = new_id()
    older, newer, other = attempt(id_, 1), attempt(id_, 2), attempt(new_id(), 1)
    running, roused = ActiveAttempts(), []
    older.rouse = lambda: roused.append(older)
    running.add(other)
    for each in (newer, older) if newer_first else (older, newer):
        running.add(each)
    with pytest.raises(AttemptOver):
        older.guard()
    assert roused == [older]
    assert running.leases() == [other.lease, newer.lease]
    running.remove(older)
    assert running.attempts() == [other, newer]


def test_a_heartbeat_renews_the_newer_lease_of_an_execution_and_has_lost_the_older() -> None:
    id_ = new_id()
    older, newer = attempt(id_, 1).lease, attempt(id_, 2).lease
    for leases in ([older, newer], [newer, older]):
        beat: Any = heartbeat(
            worker="w", kind="worker", engine="", queues=(), concurrency=1, stuck=0, leases=leases, seconds=30
        )
        assert (beat.parameters["ids"], beat.parameters["fences"]) == ([id_], [2])
        assert beat.read([(id_, True)]) == {newer: True}


def test_a_signals_handler_may_look_whatever_its_thread_was_doing() -> None:
    """It is called between any two steps of its own thread, also where that holds a lock."""
    running, looks = ActiveAttempts(), []

    def look(_number: int, _frame: FrameType | None) -> None:
        looks.append(len(running.attempts()))

    before = signal.signal(signal.SIGALRM, look)
    mine = attempt(new_id(), 1)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while len(looks) < 200:
            running.add(mine)
            running.remove(mine)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert set(looks) <= {0, 1}


def test_a_processs_name_is_its_own_in_a_container_that_has_one_host_and_one_pid() -> None:
    names = {process_name("relay") for _ in range(100)}
    assert len(names) == 100
    assert all(":relay:" in name and len(name) <= 200 for name in names)
