"""The engines for users' own unit tests, held to what Django's tests of its own backends check."""

import logging
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.tasks import TaskResultStatus, default_task_backend
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch
from django.tasks.signals import task_finished, task_started
from django.test import override_settings
from django.utils import timezone

from tandem import AsyncContext, Context, RouteError, TandemBackend, task
from tandem.declarations import TaskResult
from tandem.engines.immediate import ImmediateEngine
from tandem.engines.memory import MemoryEngine
from tests.work import tasks
from tests.work.effects import recorded

ORDER = {"first": "old"}


@task(takes_context=True)
def reordered(context: Context) -> Any:
    context.step(ORDER["first"], str)
    return context.wait("approved")


def backend() -> TandemBackend:
    found = tasks.noop.get_backend()
    assert isinstance(found, TandemBackend)
    return found


def engine(name: str) -> MemoryEngine:
    found = backend().engines[name]
    assert isinstance(found, MemoryEngine)
    return found


@pytest.fixture
def immediate() -> Iterator[MemoryEngine]:
    options: dict[str, Any] = {"ENGINES": {"immediate": {}}}
    with override_settings(TASKS={"default": {"BACKEND": "tandem.TandemBackend", "QUEUES": [], "OPTIONS": options}}):
        yield engine("immediate")
        engine("immediate").clear()


@pytest.fixture
def effects_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_TEST_EFFECTS", str(tmp_path / "effects"))


@pytest.fixture
def mark() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def stub() -> Iterator[MemoryEngine]:
    engine("stub").clear()
    yield engine("stub")
    engine("stub").clear()


@pytest.mark.parametrize("task", [tasks.noop, tasks.noop_async])
def test_the_stub_runs_nothing_and_records_all(stub: MemoryEngine, task: Any) -> None:
    result = task.enqueue(1, two=3)
    assert result.status == TaskResultStatus.READY
    assert (result.phase, result.engine, result.reason) == ("queued", "stub", "default")
    assert (result.args, result.kwargs) == ([1], {"two": 3})
    assert result.started_at is None
    with pytest.raises(ValueError, match="Task has not finished yet"):
        _ = result.return_value
    assert stub.results == [result]
    assert task.get_result(result.id) == result


async def aenqueue(task: Any, *args: Any) -> TaskResult:
    result: TaskResult = await task.aenqueue(*args)
    return result


def test_enqueue_many(stub: MemoryEngine) -> None:
    results = tasks.add.enqueue_many([((number,), {"right": 2}) for number in range(3)])
    assert [result.args for result in results] == [[0], [1], [2]]
    assert stub.results == list(results)
    with pytest.raises(InvalidTask, match="idempotency_key"):
        tasks.add.using(idempotency_key="k").enqueue_many([((1,), {})])


@pytest.mark.parametrize("task", [tasks.noop, tasks.noop_async])
def test_immediate_runs_in_place(immediate: MemoryEngine, task: Any) -> None:
    result = task.enqueue(1, two=3)
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.is_finished
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    assert result.return_value is None
    assert result.task == task
    assert result.attempts == 1


@pytest.mark.parametrize(
    ("task", "exception", "message"),
    [(tasks.fail, ValueError, "This task failed"), (tasks.leave, SystemExit, "This task exits")],
)
def test_immediate_keeps_what_a_body_raised(
    immediate: MemoryEngine, caplog: pytest.LogCaptureFixture, task: Any, exception: type, message: str
) -> None:
    with caplog.at_level(logging.ERROR, "django.tasks"):
        result = task.enqueue()
    assert message in caplog.text
    assert result.status == TaskResultStatus.FAILED
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value
    assert result.errors[0].exception_class is exception
    assert result.errors[0].traceback.endswith(f"{exception.__name__}: {message}\n")


def test_immediate_reports_a_result_that_is_not_json(immediate: MemoryEngine) -> None:
    result = tasks.complex_result.enqueue()
    assert result.status == TaskResultStatus.FAILED
    assert result.errors[0].exception_class is TypeError
    assert "Unsupported type" in result.errors[0].traceback


def test_immediate_gives_a_context(immediate: MemoryEngine) -> None:
    result = tasks.who.using(owner="anna").enqueue()
    value = result.return_value
    assert value["id"] == result.id
    assert (value["attempt"], value["attempts"], value["engine"], value["owner"]) == (1, 1, "immediate", "anna")


def test_immediate_runs_steps_sleeps_and_progress(
    immediate: MemoryEngine, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_TEST_EFFECTS", str(tmp_path / "effects"))
    result = tasks.steps.enqueue("mark")
    assert result.return_value == ["step-1", "step-2", "step-3"]
    assert result.progress is not None
    assert result.progress.percent == 100.0
    assert tasks.steps_async.enqueue("mark").return_value == ["step-1", "step-2", "step-3"]
    assert tasks.sleeper.enqueue("mark", 3600).return_value == "after"
    assert tasks.sleeper_async.enqueue("mark", 3600).return_value == "after"


def test_immediate_cannot_defer(immediate: MemoryEngine) -> None:
    with pytest.raises(RouteError, match=r"lacks defer"):
        tasks.noop.using(run_after=timezone.now()).enqueue()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (object(), "Unsupported type"),
        ({1, 2}, "Unsupported type"),
        ("x" * 1_048_576, "above the limit of 1,048,576"),
        ("a\0b", "NUL"),
        (float("nan"), "not JSON compliant"),
        ("\ud800", "half of a character"),
    ],
)
def test_arguments_that_cannot_be_kept_are_refused(stub: MemoryEngine, argument: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        tasks.noop.enqueue(argument)
    assert isinstance(caught.value, InvalidTask)
    assert "tests.work.tasks.noop" in str(caught.value)
    assert stub.results == []


def test_an_engine_that_is_not_configured_is_an_error_at_enqueue(stub: MemoryEngine) -> None:
    with pytest.raises(RouteError, match=r"engine 'stubb' is not configured; did you mean 'stub'\?"):
        tasks.noop.using(engine="stubb").enqueue()


def test_results_of_another_task_or_none(stub: MemoryEngine) -> None:
    result = tasks.noop.enqueue()
    with pytest.raises(TaskResultMismatch):
        tasks.add.get_result(result.id)
    for unknown in ("123", "01a20599-e93a-7a45-8ecb-50db52cf5435"):
        with pytest.raises(TaskResultDoesNotExist):
            default_task_backend.get_result(unknown)


def test_signals_are_logged_as_djangos(immediate: MemoryEngine, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "django.tasks"):
        result = tasks.noop.enqueue()
    messages = [record.getMessage() for record in caplog.records]
    assert [result.id in message for message in messages] == [True, True, True]
    assert "enqueued" in messages[0]
    assert "state=RUNNING" in messages[1]
    assert "state=SUCCESSFUL" in messages[2]
    assert "NoneType" not in caplog.text


@pytest.mark.parametrize("task", [tasks.charge, tasks.charge_async])
def test_an_atomic_step_needs_no_ledger_in_place(immediate: MemoryEngine, task: Any) -> None:
    result = task.enqueue(7)
    assert (result.phase, result.return_value) == ("succeeded", 7), result.errors


@pytest.mark.parametrize("task", [tasks.family, tasks.family_async])
def test_children_run_in_place(immediate: MemoryEngine, effects_file: None, task: Any) -> None:
    result = task.enqueue("in place", 3)
    assert result.return_value == {"first": 2, "rest": [2, 3, 4]}


@pytest.mark.parametrize("task", [tasks.approval, tasks.approval_async])
def test_a_body_waits_for_signals_in_place(immediate: MemoryEngine, effects_file: None, mark: str, task: Any) -> None:
    result = task.enqueue(mark)
    assert (result.phase, result.attempts) == ("waiting", 1)
    result.signal("another", "no")
    result.signal("approved", {"by": "anna"})
    result.refresh()
    assert result.phase == "waiting"
    result.signal("approved", "again")
    result.refresh()
    assert (result.phase, result.return_value) == ("succeeded", [{"by": "anna"}, "again"])
    assert result.attempts == 1
    # Run again from the top twice, and each step once.
    assert [line[2] for line in recorded(mark)] == ["asked", "answered"]


def test_a_wait_gives_up_in_place_when_a_test_says_so(immediate: Any, effects_file: None, mark: str) -> None:
    result = tasks.impatient.enqueue(mark)
    assert result.phase == "waiting"
    immediate.time_out(result)
    result.refresh()
    assert (result.phase, result.return_value) == ("succeeded", "gave-up")


def test_a_wait_without_a_timeout_is_not_given_up(immediate: Any, effects_file: None, mark: str) -> None:
    result = tasks.approval.enqueue(mark)
    immediate.time_out(result)
    result.refresh()
    assert result.phase == "waiting"


def test_a_retry_goes_on_from_the_last_finished_step_in_place(
    immediate: MemoryEngine, effects_file: None, mark: str
) -> None:
    result = tasks.steps.enqueue(mark, 2)
    assert (result.phase, result.attempts) == ("succeeded", 2)
    assert [line[2] for line in recorded(mark)] == ["step-1", "step-2", "step-3"]


def test_a_parent_waits_for_a_child_that_waits_in_place(immediate: MemoryEngine, effects_file: None, mark: str) -> None:
    result = tasks.parent_of_waiters.enqueue(mark)
    assert result.phase == "waiting"
    waiting = [child for child in immediate.results if child.phase == "waiting" and child.id != result.id]
    assert waiting
    for child in waiting:
        child.signal("approved", "first")
        child.signal("approved", "second")
    result.refresh()
    assert result.phase == "succeeded", result.errors


def test_a_cancel_in_place_takes_the_waiting_children_along(
    immediate: MemoryEngine, effects_file: None, mark: str
) -> None:
    result = tasks.parent_of_waiters.enqueue(mark)
    assert result.cancel() == "cancelled"
    assert {each.phase for each in immediate.results} == {"cancelled"}


def test_a_changed_order_is_an_error_that_names_the_step_in_place(
    immediate: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = reordered.enqueue()
    monkeypatch.setitem(ORDER, "first", "new")
    result.signal("approved", 1)
    result.refresh()
    assert result.phase == "parked"
    assert "asks for step 'new' at position 1, where an earlier attempt recorded 'old'" in result.errors[-1].traceback
    monkeypatch.setitem(ORDER, "first", "old")
    result.retry()
    result.refresh()
    assert (result.phase, result.return_value) == ("succeeded", 1)


@task(takes_context=True)
async def parent_of(context: AsyncContext, child: str) -> Any:
    return await context.call(getattr(tasks, child), *(["m"] if child == "approval_async" else [1, 2]))


@task(takes_context=True)
def counts_users(context: Context) -> int:
    return context.step("count", get_user_model().objects.count)


@task(takes_context=True)
async def parent_of_one_that_asks_the_database(context: AsyncContext) -> Any:
    return await context.call(counts_users)


def test_an_async_parent_has_async_children_in_place(immediate: MemoryEngine, effects_file: None) -> None:
    result = parent_of.enqueue("approval_async")
    assert result.phase == "waiting", result.errors
    (child,) = [each for each in immediate.results if each.id != result.id]
    child.signal("approved", 1)
    child.signal("approved", 2)
    result.refresh()
    assert (result.phase, result.return_value) == ("succeeded", [1, 2]), result.errors


@pytest.mark.django_db
def test_an_async_parents_children_may_use_the_database(immediate: MemoryEngine) -> None:
    result = parent_of_one_that_asks_the_database.enqueue()
    assert (result.phase, result.return_value) == ("succeeded", 0), result.errors


@task(takes_context=True)
def cancels_itself(context: Context) -> str:
    said = str(backend().cancel(context.execution_id))
    CANCELS.append(said)
    context.step("after", str)
    return "not cancelled"


CANCELS: list[str] = []


def test_a_body_that_runs_hears_of_its_cancel_in_place_and_ends_once(immediate: MemoryEngine) -> None:
    ends: list[str] = []

    def hear(task_result: TaskResult, **_: Any) -> None:
        ends.append(task_result.phase)

    task_finished.connect(hear)
    try:
        result = cancels_itself.enqueue()
    finally:
        task_finished.disconnect(hear)
    assert (CANCELS.pop(), result.phase, ends) == ("requested", "cancelled", ["cancelled"])


@task(takes_context=True)
def swallows(context: Context) -> str:
    with suppress(BaseException):
        context.wait("go")
    return "went on"


@task(takes_context=True)
def fails_in_finally(context: Context) -> Any:
    try:
        return context.wait("go")
    finally:
        context.idempotency_key("")


@pytest.mark.parametrize("task", [swallows, fails_in_finally])
def test_a_suspended_body_waits_whatever_it_makes_of_it(immediate: MemoryEngine, task: Any) -> None:
    assert task.enqueue().phase == "waiting"


def test_a_retried_parent_looks_at_its_child_again_in_place(
    immediate: MemoryEngine, effects_file: None, mark: str
) -> None:
    result = impatient_parent.enqueue(mark)
    assert isinstance(immediate, ImmediateEngine)
    (child,) = [each for each in immediate.results if each.id != result.id]
    immediate.time_out(child)
    result.refresh()
    child.refresh()
    assert (result.phase, child.phase) == ("failed", "failed")
    child.retry()
    child.refresh()
    assert child.phase == "waiting"
    child.signal("go", 7)
    result.retry()
    result.refresh()
    assert (result.phase, result.return_value) == ("succeeded", 7)


@task(takes_context=True)
def waits_a_little(context: Context) -> Any:
    return context.wait("go", timeout=1)


@task(takes_context=True)
def impatient_parent(context: Context, _mark: str) -> Any:
    return context.call(waits_a_little)


@task(takes_context=True)
def mutates(context: Context) -> Any:
    items = context.step("list", list, "a")
    items.append("x")
    first = context.wait("one")
    first["n"] = first.get("n", 0) + 1
    context.wait("two")
    return [items, first]


def test_what_a_body_does_to_a_recorded_value_stays_in_that_attempt(immediate: MemoryEngine) -> None:
    result = mutates.enqueue()
    result.signal("one", {})
    result.signal("two", None)
    result.refresh()
    assert result.return_value == [["a", "x"], {"n": 1}]
    result.return_value[0].append("a caller's")
    result.refresh()
    assert result.return_value == [["a", "x"], {"n": 1}]


@task(takes_context=True)
def sleeps_in_a_transaction(context: Context) -> None:
    with transaction.atomic():
        context.sleep(5)


@task(takes_context=True)
def steps_on_a_thread(context: Context) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(context.step, "there", str).result()


@task(takes_context=True)
def writes_and_fails(context: Context) -> None:
    def write() -> None:
        get_user_model().objects.create(username="left")
        raise ValueError("after the write")

    context.step("write", write, atomic=True)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("task", "words"), [(sleeps_in_a_transaction, "inside transaction.atomic()"), (steps_on_a_thread, "on a thread")]
)
def test_what_no_engine_takes_is_refused_in_place(immediate: MemoryEngine, task: Any, words: str) -> None:
    result = task.enqueue()
    assert result.phase == "failed"
    assert words in result.errors[-1].traceback


@pytest.mark.django_db
def test_an_atomic_step_that_raises_leaves_nothing_in_place(immediate: MemoryEngine) -> None:
    assert writes_and_fails.enqueue().phase == "failed"
    assert not get_user_model().objects.exists()


@task(takes_context=True)
def signals_itself(context: Context) -> Any:
    try:
        return context.wait("go")
    finally:
        if not CANCELS:
            CANCELS.append("once")
            backend().signal(context.execution_id, "go", "from the end")


def test_a_signal_that_comes_while_a_body_suspends_is_heard(immediate: MemoryEngine) -> None:
    result = signals_itself.enqueue()
    assert CANCELS.pop() == "once"
    assert (result.phase, result.return_value) == ("succeeded", "from the end")


def test_a_parent_is_run_again_once_its_last_child_has_ended(
    immediate: MemoryEngine, effects_file: None, mark: str
) -> None:
    starts: list[str] = []

    def hear(task_result: TaskResult, **_: Any) -> None:
        starts.append(task_result.id)

    task_started.connect(hear)
    try:
        result = tasks.parent_of_waiters.enqueue(mark)
        for child in [each for each in immediate.results if each.id != result.id]:
            child.signal("another", 0)
            child.signal("approved", 1)
            child.signal("approved", 2)
    finally:
        task_started.disconnect(hear)
    result.refresh()
    assert result.phase == "succeeded"
    assert starts.count(result.id) == 2


@pytest.mark.django_db
def test_what_was_rolled_back_leaves_no_record(immediate: MemoryEngine, effects_file: None, mark: str) -> None:
    assert isinstance(immediate, ImmediateEngine)
    for _ in range(3):
        with transaction.atomic():
            tasks.approval.enqueue(mark)
            transaction.set_rollback(True)
    assert immediate.results == []
    tasks.approval.enqueue(mark)
    assert len(immediate._records) == 1


def test_the_wait_of_an_unknown_result_cannot_be_timed_out(immediate: MemoryEngine) -> None:
    assert isinstance(immediate, ImmediateEngine)
    result = waits_a_little.enqueue()
    immediate.clear()
    with pytest.raises(TaskResultDoesNotExist):
        immediate.time_out(result)
