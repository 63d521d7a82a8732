"""Parents and children whose statements meet: two transactions each, and one waits for the other's end."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.utils import timezone

from tandem import operations as control
from tandem import task
from tandem.declarations import BoundCall
from tandem.exceptions import RouteError
from tandem.ledger import connection as ledger
from tandem.ledger.hot import attempts, claims, inserts
from tandem.ledger.identity import new_id
from tandem.ledger.models import Execution, Step
from tandem.ledger.operating import cancels, pruning
from tandem.ledger.relaying import brokered, runtime
from tandem.ledger.rows import Claim, Error, NewExecution, Reference
from tandem.ledger.statement import Statement
from tandem.ledger.suspension import families, sleeps, waits, wakes
from tandem.ledger.suspension.families import Child
from tests.integration.waiting import until
from tests.work import tasks

pytestmark = pytest.mark.usefixtures("database")

# No relay or worker of other tests touches rows of an engine that it does not have.
ENGINE = "nobody"
PLACE: dict[str, Any] = {"name": "call", "occurrence": 0}
ERROR = Error(exception_class_path="builtins.ValueError", traceback="ValueError: x")


@task(requires=["priority"])
def needs_priority() -> None:
    pass


_WAITS_FOR = "SELECT count(*) FROM pg_locks WHERE NOT granted AND %(pid)s = ANY(pg_blocking_pids(pid))"


def insert(*, parent: UUID | None = None) -> UUID:
    new = NewExecution(
        id=new_id(),
        task=tasks.noop.module_path,
        queue=f"family-{new_id()}",
        priority=0,
        arguments='{"args": [], "kwargs": {}}',
        engine=ENGINE,
        reason="default",
        pinned=False,
        phase="queued",
        parent=parent,
    )
    ledger.execute(inserts.insert_one(new))
    return new.id


def claimed(id_: UUID, worker: str = "w1") -> Claim:
    found = ledger.execute(claims.claim(id=id_, engine=ENGINE, worker=worker, lease=30.0))
    assert found is not None
    return found


def born(*ids: UUID) -> list[Child]:
    call: dict[str, Any] = {"task": tasks.noop.module_path, "queue": "q", "priority": 0, "engine": ENGINE}
    return [
        Child(id=str(id_), arguments={"args": [], "kwargs": {}}, reason="parent", phase="queued", **call) for id_ in ids
    ]


def spawned(holder: Claim, count: int, *, position: int = 0, name: str = "call") -> list[UUID]:
    """Children of a call that a body makes."""
    ids = [new_id() for _ in range(count)]
    place = PLACE | {"name": name}
    ledger.execute(families.spawn(holder, **place, position=position, born=born(*ids)))
    return ids


def suspended(holder: Claim, *children: UUID, name: str = "call") -> None:
    """Have a parent wait for children, as its engine does once it has looked at them."""
    found = ledger.execute(families.children(holder.lease, ids=children))
    place = PLACE | {"name": name}
    assert ledger.execute(
        waits.suspend_waiting(
            holder.lease, **place, wake_generation=found.wake_generation, awakeable=None, children=children
        )
    )


def finish(id_: UUID) -> None:
    """Have a child end, and its parent hear of it."""
    holder = claimed(id_)
    ledger.execute(attempts.finish(holder.lease, outcome="succeeded", result="1", error=None))
    if holder.parent is not None:
        ledger.execute(wakes.wake_parent(holder.parent))


def row(id_: UUID) -> Execution:
    return Execution.objects.get(pk=id_)


def due(id_: UUID) -> bool:
    """Whether the relay looks at it now."""
    found = row(id_).due_at
    return found is not None and found <= timezone.now()


def recheck(id_: UUID) -> wakes.Waiter:
    Execution.objects.filter(pk=id_).update(due_at=timezone.now() - timedelta(seconds=1))
    [waiter] = ledger.execute(wakes.recheck(engine=ENGINE, queue=row(id_).queue, limit=10, sends=False))
    return waiter


def while_open[T](first: Statement[Any], then: Callable[[], T]) -> T:
    """Run `then` on another thread while `first` is not committed; commit once `then` waits for it, or has ended."""
    answers: list[T] = []

    def run() -> None:
        try:
            answers.append(then())
        finally:
            connections.close_all()
            ledger.close()

    connection = ledger.own_connection()
    other = threading.Thread(target=run)
    with connection.transaction():
        connection.execute(first.sql.encode(), first.parameters)
        other.start()
        pid = {"pid": connection.info.backend_pid}
        until(
            lambda: not other.is_alive() or connection.execute(_WAITS_FOR, pid).fetchone() != (0,),
            "the other waits for this transaction",
        )
    other.join()
    [answer] = answers
    return answer


def claim(id_: UUID, _holder: None) -> Statement[Any]:
    return claims.claim(id=id_, engine=ENGINE, worker="w2", lease=30.0)


def claim_invocation(id_: UUID, _holder: None) -> Statement[Any]:
    return claims.claim_invocation(
        id=id_, task=tasks.noop.module_path, engine=ENGINE, worker="w2", lease=30.0, dispatch_number=1, invocation="inv"
    )


@pytest.mark.parametrize("entry", [claim, claim_invocation])
def test_a_cancel_asks_a_child_that_is_being_claimed(entry: Any) -> None:
    parent = insert()
    child = insert(parent=parent)
    assert while_open(entry(child, None), lambda: control.cancel(str(parent), by="anna")) == "cancelled"
    assert row(parent).outcome == "cancelled"
    found = row(child)
    assert (found.phase, found.cancelled_by) == ("running", "anna")
    assert found.cancel_requested_at is not None


def test_a_cancel_asks_an_execution_that_is_being_claimed() -> None:
    id_ = insert()
    assert while_open(claim(id_, None), lambda: control.cancel(str(id_), by=None)) == "requested"
    assert row(id_).cancel_requested_at is not None


@pytest.mark.parametrize("let_go", ["asleep", "retrying", "finished"])
def test_a_cancel_ends_what_is_just_being_let_go(let_go: str) -> None:
    parent = insert()
    child = insert(parent=parent)
    holder = claimed(child)
    ends: dict[str, Statement[Any]] = {
        "asleep": sleeps.suspend(holder.lease, name="s", occurrence=0, position=0, seconds=60),
        "retrying": attempts.retry_later(holder.lease, seconds=60, counted=True, error=ERROR),
        "finished": attempts.finish(holder.lease, outcome="succeeded", result="1", error=None),
    }
    assert while_open(ends[let_go], lambda: control.cancel(str(parent), by=None)) == "cancelled"
    assert row(child).outcome == ("succeeded" if let_go == "finished" else "cancelled")


def test_a_cancel_reaches_children_that_are_just_being_born() -> None:
    root = insert()
    parent = insert(parent=root)
    holder = claimed(parent)
    ids = [new_id(), new_id()]
    spawn = families.spawn(holder, **PLACE, position=0, born=born(*ids))
    assert while_open(spawn, lambda: control.cancel(str(root), by="anna")) == "cancelled"
    assert row(parent).cancel_requested_at is not None
    assert {(row(id_).outcome, row(id_).cancelled_by) for id_ in ids} == {("cancelled", "anna")}


def test_a_parent_that_is_being_cancelled_bears_none() -> None:
    parent = insert()
    holder = claimed(parent)
    spawn = families.spawn(holder, **PLACE, position=0, born=born(new_id()))
    told = while_open(cancels.cancel(id=parent, by=None), lambda: ledger.execute(spawn))
    assert told.cancel_requested
    assert not Execution.objects.filter(parent=parent).exists()


def test_a_second_cancel_asks_nobody_twice() -> None:
    parent = insert()
    child = insert(parent=parent)
    claimed(parent)
    assert control.cancel(str(parent), by="anna") == "requested"
    first = row(parent).cancel_requested_at
    assert control.cancel(str(parent), by="otto") == "requested"
    found = row(parent)
    assert (found.cancel_requested_at, found.cancelled_by) == (first, "anna")
    assert found.events.count() == 1
    assert control.cancel(str(child), by="otto") == "finished"


def test_a_cancel_reaches_the_children_of_a_child_that_is_over() -> None:
    parent = insert()
    over = insert(parent=parent)
    grandchild, done = insert(parent=over), insert(parent=over)
    finish(over)
    finish(done)
    assert control.cancel(str(parent), by="anna") == "cancelled"
    assert [row(id_).outcome for id_ in (over, grandchild, done)] == ["succeeded", "cancelled", "succeeded"]
    assert row(over).cancelled_by is None


def test_a_heartbeat_waits_for_no_callers_transaction() -> None:
    """Nor does it take what is locked for lost: one caller's long transaction would stop all leases of a process."""
    free, locked = claimed(insert()).lease, claimed(insert()).lease
    beat = claims.heartbeat(
        worker="w1",
        kind="worker",
        engine=ENGINE,
        queues=(),
        concurrency=2,
        stuck=0,
        leases=[locked, free],
        seconds=600.0,
    )
    until_then = row(locked.id).lease_expires_at
    cancelling = cancels.cancel(id=locked.id, by=None)
    assert while_open(cancelling, lambda: ledger.execute(beat)) == {free: False, locked: False}
    assert row(locked.id).lease_expires_at == until_then
    assert row(free.id).lease_expires_at != until_then
    assert ledger.execute(beat) == {free: False, locked: True}
    assert row(locked.id).lease_expires_at == row(free.id).lease_expires_at


@pytest.mark.parametrize("name", ["sent", "unsent", "look again", "mark lost", "seen alive", "not sent", "send again"])
def test_a_relay_waits_for_no_callers_transaction(name: str) -> None:
    free, locked = insert(), insert()
    ids = [locked, free]
    rows = {"engine": "restate", "phase": "waiting" if name == "look again" else "queued"}
    Execution.objects.filter(pk__in=ids).update(**rows)
    suspects = [Reference(id=id_, task="t", queue="q", priority=0, dispatch_number=1, fence=0) for id_ in ids]
    said: dict[str, Statement[int]] = {
        "sent": inserts.mark_sent(ids, "e"),
        "unsent": inserts.mark_unsent(ids),
        "look again": wakes.look_again(ids, seconds=1.0),
        "mark lost": brokered.mark_lost(ids),
        "seen alive": runtime.seen_alive(ids, engine="restate"),
        "not sent": runtime.not_sent(ids, seconds=1.0, why="no"),
        "send again": runtime.send_again(dict.fromkeys(suspects, (True, "gone")), engine="restate"),
    }
    waited: list[bool] = []

    def say() -> int:
        changed = ledger.execute(said[name])
        waited.append(row(locked).outcome is not None)
        return changed

    assert while_open(cancels.cancel(id=locked, by=None), say) == 1
    assert waited == [False]


def test_a_parent_waits_for_the_children_of_its_open_step_only() -> None:
    parent = insert()
    holder = claimed(parent)
    left = spawned(holder, 1, name="left open")
    first, second = spawned(holder, 2, position=1)
    suspended(holder, first, second)
    finish(first)
    assert not due(parent)
    assert not recheck(parent).ready
    finish(second)
    assert due(parent)
    assert recheck(parent).ready
    assert row(left[0]).outcome is None


def test_a_child_that_is_gone_has_ended() -> None:
    parent = insert()
    holder = claimed(parent)
    here, gone = spawned(holder, 2)
    suspended(holder, here, gone)
    Execution.objects.filter(pk=gone).delete()
    assert not recheck(parent).ready
    finish(here)
    assert recheck(parent).ready
    Execution.objects.filter(pk=parent).update(phase="queued")
    ended = ledger.execute(families.children(claimed(parent).lease, ids=[here, gone])).ended
    assert [ended[id_].outcome for id_ in (here, gone)] == ["succeeded", "gone"]
    assert "deleted" in str(ended[gone].traceback)


def test_prune_leaves_the_children_of_a_parent_that_is_not_over() -> None:
    parent = insert()
    [child] = spawned(claimed(parent), 1)
    finish(child)
    past = timezone.now() - timedelta(days=10_000)
    Execution.objects.filter(pk__in=[parent, child]).update(created_at=past)
    Execution.objects.filter(pk=child).update(finished_at=past)
    assert ledger.execute(pruning.prune(days=9_999, limit=100)) == 0
    Execution.objects.filter(pk=parent).update(phase="failed", outcome="failed", finished_at=past)
    assert ledger.execute(pruning.prune(days=9_999, limit=100)) == 2
    assert not Step.objects.filter(execution_id=parent).exists()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        pytest.param(tasks.noop.bind(), ("restate", "its parent runs there"), id="parent"),
        pytest.param(tasks.noop.using(engine="celery").bind(), ("celery", "the call asked for it"), id="using"),
    ],
)
def test_a_childs_engine_is_decided_as_any_other(call: BoundCall, expected: tuple[str, str]) -> None:
    backend = tasks.noop.get_backend()
    id_ = insert()
    Execution.objects.filter(pk=id_).update(engine="restate")
    parent = ledger.execute(claims.claim(id=id_, engine="restate", worker="w1", lease=30.0))
    assert parent is not None
    child = backend.child(call, id_=new_id(), parent=parent)
    assert (child.engine, child.reason) == expected


def test_a_child_that_its_parents_engine_cannot_serve_is_refused_with_the_way_out() -> None:
    backend = needs_priority.get_backend()
    id_ = insert()
    Execution.objects.filter(pk=id_).update(engine="restate")
    parent = ledger.execute(claims.claim(id=id_, engine="restate", worker="w1", lease=30.0))
    assert parent is not None
    with pytest.raises(RouteError, match=r"lacks priority.*\.using\(engine=\)"):
        backend.child(needs_priority.bind(), id_=new_id(), parent=parent)
