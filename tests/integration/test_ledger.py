"""The ledger's own promises, on a real PostgreSQL: one lease holder, guarded writes, one winner."""

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.utils import timezone

from tandem.exceptions import LedgerUnavailable
from tandem.ledger import connection as ledger
from tandem.ledger.hot import attempts, claims, inserts
from tandem.ledger.identity import new_id, new_ids
from tandem.ledger.models import Event, Execution, Step, Worker
from tandem.ledger.operating import cancels, pruning, retries
from tandem.ledger.relaying import backlog
from tandem.ledger.rows import Claim, Error, Lease, NewExecution
from tandem.ledger.statement import Statement
from tandem.ledger.suspension import sleeps
from tests.work.tasks import noop

pytestmark = pytest.mark.usefixtures("database")

LEASE = 30.0
# No relay or worker of other tests touches rows of an engine that it does not have.
ENGINE = "nobody"
ERROR = Error(exception_class_path="builtins.ValueError", traceback="ValueError: x")


def insert(**changes: Any) -> UUID:
    """A queued row that no broker knows of, on a queue of its own."""
    values: dict[str, Any] = {
        "id": new_id(),
        "task": "tests.work.tasks.noop",
        "queue": f"ledger-{new_id()}",
        "priority": 0,
        "arguments": '{"args": [], "kwargs": {}}',
        "engine": ENGINE,
        "reason": "default",
        "pinned": False,
        "phase": "queued",
        "broker_epoch": "e",
    }
    new = NewExecution(**(values | changes))
    assert ledger.execute(inserts.insert_one(new)) is not None
    return new.id


def claim(id_: UUID, worker: str = "w1", lease: float = LEASE) -> Claim | None:
    return ledger.execute(claims.claim(id=id_, engine=ENGINE, worker=worker, lease=lease))


def claimed(id_: UUID, worker: str = "w1", lease: float = LEASE) -> Claim:
    found = claim(id_, worker, lease)
    assert found is not None
    return found


def reenter(id_: UUID, *, dispatch_number: int = 1, invocation: str = "inv_1") -> Claim | None:
    return ledger.execute(
        claims.claim_invocation(
            id=id_,
            task="tests.work.tasks.noop",
            engine=ENGINE,
            worker="s1",
            lease=LEASE,
            dispatch_number=dispatch_number,
            invocation=invocation,
        )
    )


def checkpoint(holder: Claim, result: str = "1") -> Any:
    return ledger.execute(
        attempts.checkpoint(holder.lease, name="step", occurrence=0, position=0, result=result, seconds=0.1)
    )


def row(id_: UUID) -> Execution:
    return Execution.objects.get(pk=id_)


def requeue_expired(id_: UUID, most: int = 3) -> str | None:
    """Let the lease run out, then take over."""
    queue = row(id_).queue
    Execution.objects.filter(pk=id_).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    found = ledger.execute(backlog.expired(engine=ENGINE, queue=queue, after=None, limit=10))
    taken = ledger.execute(backlog.requeue_expired(found.ids, most=most))
    return next(outcome for taken_id, outcome, _ in taken if taken_id == id_)


def send_due(id_: UUID) -> None:
    queue = row(id_).queue
    due = ledger.execute(
        backlog.take_due(
            engine=ENGINE,
            queue=queue,
            phases=("queued", "deferred", "retrying", "sleeping"),
            broker_epoch="e",
            limit=10,
        )
    )
    assert [item.id for item in due] == [id_]


def test_one_of_many_claims_wins() -> None:
    id_ = insert()
    won: list[Claim] = []
    start = threading.Barrier(8)

    def race(number: int) -> None:
        start.wait()
        found = claim(id_, f"w{number}")
        if found is not None:
            won.append(found)
        ledger.close()

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert won[0].fence == 1
    assert row(id_).worker_ids == [won[0].worker_ids[0]]


@pytest.mark.parametrize("phase", ["deferred", "held"])
def test_only_a_queued_row_is_claimed(phase: str) -> None:
    assert claim(insert(phase=phase)) is None


def test_a_row_of_another_engine_is_not_claimed() -> None:
    assert claim(insert(engine="another")) is None


def test_a_stale_attempt_changes_nothing() -> None:
    id_ = insert()
    stale = claimed(id_, "w1")
    assert requeue_expired(id_) is None
    send_due(id_)
    holder = claimed(id_, "w2")
    assert (holder.fence, holder.attempts, holder.lost_leases) == (2, 1, 1)
    assert not checkpoint(stale).held
    assert not ledger.execute(attempts.progress(stale.lease, current=1, total=2, message="")).held
    assert ledger.execute(attempts.finish(stale.lease, outcome="succeeded", result="1", error=None)) is None
    assert ledger.execute(attempts.retry_later(stale.lease, seconds=1, counted=True, error=ERROR)) is None
    assert not ledger.execute(attempts.park(stale.lease, error=ERROR))
    assert not ledger.execute(sleeps.suspend(stale.lease, name="sleep", occurrence=0, position=0, seconds=1))
    assert row(id_).phase == "running"
    assert not Step.objects.filter(execution_id=id_).exists()
    assert ledger.execute(attempts.finish(holder.lease, outcome="succeeded", result="2", error=None)) is not None
    assert row(id_).result == 2
    assert row(id_).worker_ids == ["w1", "w2"]


def test_a_checkpoint_made_before_the_take_over_stays() -> None:
    id_ = insert()
    stale = claimed(id_)
    assert checkpoint(stale, '"first"').written
    requeue_expired(id_)
    send_due(id_)
    holder = claimed(id_, "w2")
    answer = checkpoint(holder, '"second"')
    assert (answer.held, answer.written) == (True, False)
    (recorded,) = ledger.execute(attempts.recorded_steps(id_))
    assert recorded.result == "first"


def test_the_last_of_too_many_lost_leases_is_the_end() -> None:
    id_ = insert()
    for _ in range(2):
        claimed(id_)
        assert requeue_expired(id_, most=2) is None
        send_due(id_)
    claimed(id_)
    assert requeue_expired(id_, most=2) == "dead"
    ended = row(id_)
    assert (ended.outcome, ended.lost_leases, ended.attempts) == ("dead", 3, 3)
    assert "3 leases were lost" in ended.errors[-1]["traceback"]
    assert claim(id_) is None


def test_a_heartbeat_renews_what_the_worker_holds_and_says_what_it_does_not() -> None:
    mine, other, ended, asked = insert(), insert(), insert(), insert()
    holders = {id_: claimed(id_, "w1", lease=1) for id_ in (mine, ended, asked)}
    claimed(other, "w2", lease=1)
    assert (
        ledger.execute(attempts.finish(holders[ended].lease, outcome="succeeded", result="1", error=None)) is not None
    )
    assert ledger.execute(cancels.cancel(id=asked, by="anna")).asked
    before = row(mine).lease_expires_at
    leases = {id_: holder.lease for id_, holder in holders.items()}
    superseded, theirs = replace(leases[mine], fence=0), Lease(id=other, fence=2, worker="w1")
    held = ledger.execute(
        claims.heartbeat(
            worker="w1",
            kind="worker",
            engine=ENGINE,
            queues=["default"],
            concurrency=2,
            stuck=0,
            leases=[*leases.values(), superseded, theirs],
            seconds=60,
        )
    )
    assert held == {leases[mine]: False, leases[asked]: True}
    after = row(mine).lease_expires_at
    assert before is not None
    assert after is not None
    assert after > before


def test_a_sleep_gives_up_the_lease_and_is_recorded_once() -> None:
    id_ = insert()
    holder = claimed(id_)
    suspend = sleeps.suspend(holder.lease, name="sleep", occurrence=0, position=0, seconds=3600)
    assert ledger.execute(suspend)
    sleeping = row(id_)
    assert (sleeping.phase, sleeping.lease_expires_at) == ("sleeping", None)
    assert claim(id_) is None
    (recorded,) = ledger.execute(attempts.recorded_steps(id_))
    assert (recorded.kind, recorded.name) == ("sleep", "sleep")
    assert 3590 < (recorded.due_in or 0) <= 3600


def test_a_failure_is_counted_and_errors_are_bounded() -> None:
    id_ = insert()
    for failures in range(12):
        holder = claimed(id_)
        assert holder.attempts == failures
        assert ledger.execute(attempts.retry_later(holder.lease, seconds=0, counted=True, error=ERROR)) is not None
        send_due(id_)
    assert row(id_).attempts == 12
    assert len(row(id_).errors) == 10


def test_the_same_invocation_takes_its_row_again_and_no_other() -> None:
    id_ = insert()
    first = reenter(id_)
    assert first is not None
    assert reenter(id_, invocation="inv_2") is None
    assert reenter(id_, dispatch_number=2) is None
    again = reenter(id_)
    assert again is not None
    assert (again.fence, again.attempts, again.lost_leases) == (2, 1, 1)
    assert ledger.execute(claims.release(again.lease))
    released = reenter(id_)
    assert released is not None
    assert (released.fence, released.attempts, released.lost_leases) == (3, 1, 1)
    [event] = Event.objects.filter(execution_id=id_)
    assert (event.kind, event.detail) == ("lease lost", "by s1: s1 goes on")


def test_cancel_ends_what_nobody_holds_and_asks_what_runs() -> None:
    waiting, running = insert(), insert()
    assert ledger.execute(cancels.cancel(id=waiting, by="anna")).phase == "queued"
    assert row(waiting).outcome == "cancelled"
    assert row(waiting).cancelled_by == "anna"
    assert claim(waiting) is None
    holder = claimed(running)
    asked = ledger.execute(cancels.cancel(id=running, by="anna"))
    assert (asked.phase, asked.asked) == ("running", 1)
    assert checkpoint(holder).cancel_requested
    assert requeue_expired(running) == "cancelled"


def test_a_retry_by_hand_is_a_new_dispatch_that_keeps_the_steps() -> None:
    id_ = insert()
    holder = claimed(id_)
    checkpoint(holder)
    ledger.execute(attempts.finish(holder.lease, outcome="failed", result=None, error=ERROR))
    found = ledger.execute(retries.retry(id=id_, engine=None))
    assert found is not None
    assert (found.dispatch_number, found.engine) == (2, ENGINE)
    again = reenter(id_, dispatch_number=2)
    assert again is not None
    assert (again.attempts, again.fence) == (0, 3)
    assert len(ledger.execute(attempts.recorded_steps(id_))) == 1
    assert ledger.execute(retries.retry(id=id_, engine=None)) is None


def test_two_relays_never_take_the_same_row() -> None:
    queue = f"two-relays-{new_id()}"
    ids = new_ids(400)
    new = NewExecution(
        id=ids[0],
        task="tests.work.tasks.noop",
        queue=queue,
        priority=0,
        arguments="",
        engine=ENGINE,
        reason="default",
        pinned=False,
        phase="deferred",
        due_at=timezone.now(),
    )
    ledger.execute(inserts.insert_many(new, ids=ids, arguments=['{"args":[],"kwargs":{}}'] * len(ids)))
    taken: list[UUID] = []

    def take() -> None:
        while due := ledger.execute(
            backlog.take_due(engine=ENGINE, queue=queue, phases=("deferred",), broker_epoch="e", limit=7)
        ):
            taken.extend(item.id for item in due)
        ledger.close()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 400
    assert set(taken) == set(ids)


def test_an_idempotency_key_is_free_again_long_after_its_execution_finished() -> None:
    call = noop.using(idempotency_key=str(new_id()), engine="celery", run_after=timezone.now() + timedelta(days=1))
    first = call.enqueue()
    assert call.enqueue().id == first.id
    long_ago = timezone.now() - timedelta(days=8)
    Execution.objects.filter(pk=first.id).update(created_at=long_ago)
    assert call.enqueue().id == first.id
    Execution.objects.filter(pk=first.id).update(phase="succeeded", outcome="succeeded", finished_at=long_ago)
    second = call.enqueue()
    assert second.id != first.id
    assert call.enqueue().id == second.id
    assert Execution.objects.get(pk=first.id).idempotency_key is None


def test_prune_deletes_what_finished_long_ago_with_its_steps() -> None:
    old, fresh, unfinished = insert(), insert(), insert()
    for id_ in (old, fresh):
        holder = claimed(id_)
        checkpoint(holder)
        ledger.execute(attempts.finish(holder.lease, outcome="succeeded", result="1", error=None))
    past = timezone.now() - timedelta(days=10_000)
    Execution.objects.filter(pk=old).update(created_at=past, finished_at=past)
    Execution.objects.filter(pk=unfinished).update(created_at=past)
    deleted = 0
    while batch := ledger.execute(pruning.prune(days=9_999, limit=1)):
        deleted += batch
    assert deleted == 1
    assert not Step.objects.filter(execution_id=old).exists()
    assert Step.objects.filter(execution_id=fresh).exists()
    assert row(unfinished).phase == "queued"


def test_the_errors_of_a_database_that_refuses_values_are_psycopgs() -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        ledger.execute(Statement("wrong", "SELECT 1 / 0", {}, list))


def test_a_server_that_refuses_a_statement_of_ours_cannot_serve() -> None:
    with pytest.raises(LedgerUnavailable, match="no_such_function") as raised:
        ledger.execute(Statement("wrong", "SELECT no_such_function()", {}, list))
    assert isinstance(raised.value.__cause__, psycopg.errors.UndefinedFunction)


def test_a_process_that_was_not_seen_for_a_day_is_forgotten() -> None:
    beat: dict[str, Any] = {
        "kind": "worker",
        "engine": ENGINE,
        "queues": ["q"],
        "concurrency": 1,
        "stuck": 0,
        "leases": (),
        "seconds": 30,
    }
    for name in ("gone", "there"):
        ledger.execute(claims.heartbeat(worker=name, **beat))
    Worker.objects.filter(id="gone").update(seen_at=timezone.now() - timedelta(days=2))
    assert ledger.execute(pruning.forget_workers()) == 1
    assert not Worker.objects.filter(id="gone").exists()
    assert Worker.objects.filter(id="there").exists()
