"""Bodies that wait: for signals, for children, and atomic steps; the same on both engines, with real workers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from tandem.ledger.models import Event, Execution, PendingCancellation, Signal, Step
from tests.integration.waiting import finished, in_phase, until
from tests.work import tasks
from tests.work.effects import record, recorded

pytestmark = pytest.mark.usefixtures("workers")

BOTH = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture
def deposits(database: None) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS work_deposit (account text, amount int)")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE work_deposit")


def names(mark: str) -> list[str]:
    """What ran under a mark, in order."""
    return [line[2] for line in recorded(mark)]


def of_kind(kind: str, sync: Any, asynchronous: Any) -> Any:
    return sync if kind == "sync" else asynchronous


@BOTH
def test_a_body_waits_for_signals_and_holds_no_worker(engine: str, kind: str, mark: str) -> None:
    task = of_kind(kind, tasks.approval, tasks.approval_async)
    result = task.using(engine=engine).enqueue(mark)
    in_phase(result, "waiting")
    row = Execution.objects.get(pk=result.id)
    assert row.lease_expires_at is None
    result.signal("other", "not this one")
    result.signal("approved", {"by": "anna"}, by="anna")
    # The second wait is open now; what comes while the body is replayed is not missed.
    result.signal("approved", 2)
    finished(result)
    assert result.return_value == [{"by": "anna"}, 2]
    assert names(mark) == ["asked", "answered"]
    assert result.attempts == 1
    consumed = Signal.objects.filter(execution_id=result.id, consumed_at__isnull=False)
    assert [(item.name, item.sent_by) for item in consumed.order_by("id")] == [("approved", "anna"), ("approved", None)]


def test_signals_that_came_before_the_wait_are_kept_in_order(engine: str, mark: str) -> None:
    result = tasks.approval.using(engine=engine, run_after=None).enqueue(mark)
    for number in (1, 2):
        result.signal("approved", number)
    finished(result)
    assert result.return_value == [1, 2]


def test_a_signal_is_sent_with_its_transaction(engine: str, mark: str) -> None:
    result = tasks.approval.using(engine=engine).enqueue(mark)
    in_phase(result, "waiting")
    with transaction.atomic():
        result.signal("approved", "never")
        transaction.set_rollback(True)
    with transaction.atomic():
        result.signal("approved", 1)
        result.signal("approved", 2)
    finished(result)
    assert result.return_value == [1, 2]


def test_a_wait_gives_up(engine: str, mark: str) -> None:
    result = finished(tasks.impatient.using(engine=engine).enqueue(mark))
    assert result.return_value == "gave-up"
    assert names(mark) == ["gave-up"]


def test_a_wait_that_is_not_caught_fails_for_good(engine: str, mark: str) -> None:
    result = finished(tasks.approval.using(engine=engine).enqueue(mark, 0.1))
    assert result.phase == "failed"
    assert result.errors[-1].exception_class_path == "tandem.exceptions.SignalTimeout"


def test_a_retry_by_hand_waits_for_as_long_again(engine: str, mark: str) -> None:
    result = finished(tasks.approval.using(engine=engine).enqueue(mark, 0.5))
    assert result.phase == "failed"
    with transaction.atomic():
        result.retry()
        for number in (1, 2):
            result.signal("approved", number)
    finished(result)
    assert (result.phase, result.return_value) == ("succeeded", [1, 2])
    assert names(mark) == ["asked", "answered"]


@BOTH
def test_children_run_on_the_parents_engine_and_answer_in_order(engine: str, kind: str, mark: str) -> None:
    task = of_kind(kind, tasks.family, tasks.family_async)
    result = finished(task.using(engine=engine, owner="anna").enqueue(mark, 5))
    assert result.return_value == {"first": 2, "rest": [2, 3, 4, 5, 6]}
    assert names(mark) == ["between", "after"]
    children = list(Execution.objects.filter(parent=result.id))
    assert len(children) == 6
    assert {(child.engine, child.reason, child.owner) for child in children} == {
        (engine, "its parent runs there", "anna")
    }
    assert result.attempts == 1


def test_a_childs_failure_is_the_parents_until_both_are_retried(engine: str, mark: str) -> None:
    parent = finished(tasks.strict_parent.using(engine=engine).enqueue(mark))
    assert parent.phase == "failed"
    assert "ValueError: not yet" in parent.errors[-1].traceback
    child = Execution.objects.get(parent=parent.id)
    record(f"{mark}-fixed")
    tasks.fails_until.get_backend().retry(str(child.id))
    finished(tasks.fails_until.get_result(str(child.id)))
    parent.retry()
    finished(parent)
    assert (parent.phase, parent.return_value) == ("succeeded", "fixed")
    assert Execution.objects.filter(parent=parent.id).count() == 1


def test_a_gather_may_answer_failures_too(engine: str) -> None:
    result = finished(tasks.lenient_parent.using(engine=engine).enqueue())
    assert result.return_value == ["2", "failed"]


def test_a_cancel_takes_the_children_with_it_and_tells_the_runtime(engine: str, mark: str) -> None:
    parent = tasks.parent_of_waiters.using(engine=engine).enqueue(mark)
    in_phase(parent, "waiting")
    until(lambda: Execution.objects.filter(parent=parent.id, phase="waiting").count() == 2, "the children wait")
    assert parent.cancel(by="anna") == "cancelled"
    children = Execution.objects.filter(parent=parent.id)
    assert {(child.phase, child.cancelled_by) for child in children} == {("cancelled", "anna")}
    assert [event.detail for event in Event.objects.filter(execution_id=parent.id)] == ["by anna, while waiting"]
    ended = [parent.id, *map(str, children.values_list("id", flat=True))]
    until(lambda: not PendingCancellation.objects.filter(execution_id__in=ended).exists(), "the engine is told")
    with pytest.raises(ValueError, match="is cancelled: no signal can reach it"):
        parent.signal("approved")


def test_a_cancelled_child_fails_its_parent(engine: str, mark: str) -> None:
    parent = tasks.parent_of_waiters.using(engine=engine).enqueue(mark)
    until(lambda: Execution.objects.filter(parent=parent.id, phase="waiting").count() == 2, "the children wait")
    for child in Execution.objects.filter(parent=parent.id):
        tasks.approval.get_backend().cancel(str(child.id))
    finished(parent)
    assert parent.phase == "failed"
    assert parent.errors[-1].exception_class_path == "tandem.exceptions.ChildFailed"


@BOTH
@pytest.mark.usefixtures("deposits")
@pytest.mark.parametrize("fail_first", [False, True])
def test_an_atomic_steps_work_is_done_once(engine: str, kind: str, mark: str, fail_first: bool) -> None:  # noqa: FBT001
    task = of_kind(kind, tasks.deposit, tasks.deposit_async)
    result = finished(task.using(engine=engine).enqueue(mark, fail_first))
    assert result.return_value == 11
    with connection.cursor() as cursor:
        cursor.execute("SELECT amount FROM work_deposit WHERE account = %s ORDER BY amount", [mark])
        assert [row[0] for row in cursor.fetchall()] == [1, 10]
    assert [step.kind for step in Step.objects.filter(execution_id=result.id)] == ["step", "step"]
    assert Event.objects.filter(execution_id=result.id, kind="retrying").count() == 2


def test_the_command_sends_a_signal_and_shows_it(engine: str, mark: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = tasks.approval.using(engine=engine).enqueue(mark)
    in_phase(result, "waiting")
    for number in (1, 2):
        call_command("tandem", "signal", result.id, "approved", json.dumps({"n": number}))
    finished(result)
    assert result.return_value == [{"n": 1}, {"n": 2}]
    capsys.readouterr()
    call_command("tandem", "show", result.id)
    shown = capsys.readouterr().out
    assert '{"n": 1}' in shown
    assert "approved" in shown
