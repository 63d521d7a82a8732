"""What a task's author and its caller see, the same on both engines, with real workers."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.tasks import TaskResultStatus
from django.tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch
from django.tasks.signals import task_enqueued
from django.utils import timezone

from tandem.declarations import TaskResult
from tandem.ledger.models import Execution, PendingCancellation, Step
from tests.integration.waiting import all_finished, finished, in_phase, until
from tests.work import tasks
from tests.work.effects import record, recorded

pytestmark = pytest.mark.usefixtures("workers")


def names(mark: str) -> list[str]:
    """What ran under a mark, in order."""
    return [line[2] for line in recorded(mark)]


@pytest.mark.parametrize("task", [tasks.noop, tasks.noop_async], ids=["sync", "async"])
def test_a_task_runs_and_its_result_is_read_from_any_process(engine: str, task: Any) -> None:
    result = task.using(engine=engine).enqueue(1, two=3)
    assert (result.engine, result.reason) == (engine, "the call asked for it")
    assert result.status == TaskResultStatus.READY
    finished(result)
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.return_value is None
    assert (result.args, result.kwargs) == ([1], {"two": 3})
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.attempts == len(result.worker_ids) == 1
    found = task.get_result(result.id)
    assert found.status == TaskResultStatus.SUCCESSFUL
    assert found.task.func == task.func


def test_changed_code_parks_an_execution_until_it_is_put_right(engine: str, mark: str) -> None:
    result = in_phase(tasks.deployed_over.using(engine=engine).enqueue(mark), "parked")
    assert "asks for step 'new' at position 1, where an earlier attempt recorded 'old'" in result.errors[-1].traceback
    until(
        lambda: not PendingCancellation.objects.filter(execution_id=result.id).exists(),
        "the runtime is told to give it up",
    )
    record(f"{mark}-fixed")
    result.retry()
    assert finished(result).return_value == "old"
    assert names(mark) == ["old"]


def test_djangos_signal_tells_of_each_enqueue(engine: str) -> None:
    heard: list[str] = []

    def hear(task_result: TaskResult, **_: Any) -> None:
        heard.append(task_result.id)

    task_enqueued.connect(hear)
    try:
        task = tasks.add.using(engine=engine)
        enqueued = [task.enqueue(1).id, *(result.id for result in task.enqueue_many([((2,), {}), ((3,), {})]))]
    finally:
        task_enqueued.disconnect(hear)
    assert heard == enqueued


async def _enqueue_and_read(engine: str) -> tuple[Any, Any]:
    result = await tasks.add.using(engine=engine).aenqueue(1, right=2)
    found = await tasks.add.aget_result(result.id)
    return result, found


def test_the_async_calls(engine: str) -> None:
    result, found = asyncio.run(_enqueue_and_read(engine))
    assert found.id == result.id
    assert finished(found).return_value == 3


def test_the_context_says_who_it_is(engine: str) -> None:
    result = finished(tasks.who.using(engine=engine, owner="anna").enqueue())
    value = result.return_value
    assert value["id"] == result.id
    assert (value["attempt"], value["attempts"], value["engine"], value["owner"]) == (1, 1, engine, "anna")
    assert result.owner == "anna"
    again = finished(tasks.who.using(engine=engine).enqueue())
    assert again.return_value["key"] != value["key"]


@pytest.mark.parametrize(
    ("task", "exception", "message"),
    [
        (tasks.fail, ValueError, "This task failed"),
        (tasks.leave, SystemExit, "This task exits"),
        (tasks.complex_exception, ValueError, 'ValueError(ValueError("This task failed"))'),
        (tasks.complex_result, TypeError, "Unsupported type"),
    ],
)
def test_a_failure_is_kept_with_its_traceback(engine: str, task: Any, exception: type, message: str) -> None:
    result = finished(task.using(engine=engine).enqueue())
    assert (result.status, result.phase) == (TaskResultStatus.FAILED, "failed")
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value
    (error,) = result.errors
    assert error.exception_class is exception
    assert message in error.traceback
    # sys.exit() in a body ends neither worker nor service.
    assert finished(tasks.add.using(engine=engine).enqueue(1)).return_value == 2


def test_retries_follow_the_policy_until_it_succeeds(engine: str, mark: str) -> None:
    result = finished(tasks.fail_twice.using(engine=engine).enqueue(mark))
    assert result.return_value == 3
    assert names(mark) == ["1", "2", "3"]
    assert result.attempts == 3
    assert len(result.errors) == 2


def test_used_up_retries_are_dead_and_a_retry_by_hand_starts_anew(engine: str, mark: str) -> None:
    result = finished(tasks.fail_always.using(engine=engine).enqueue(mark))
    assert (result.phase, result.attempts) == ("dead", 3)
    assert len(recorded(mark)) == 3
    result.retry()
    until(lambda: len(recorded(mark)) == 6, "the retried execution did not run its three attempts")
    assert finished(result).phase == "dead"


def test_permanent_fails_at_once_and_says_why(engine: str, mark: str) -> None:
    result = finished(tasks.refuse.using(engine=engine).enqueue(mark))
    assert (result.phase, result.attempts) == ("failed", 1)
    assert "the address does not exist" in result.errors[0].traceback
    assert len(recorded(mark)) == 1


def test_retryable_names_its_own_delay(engine: str, mark: str) -> None:
    # The task's own backoff would be a minute.
    result = finished(tasks.ask_again.using(engine=engine).enqueue(mark), patience=30)
    assert result.return_value == 2


@pytest.mark.parametrize("task", [tasks.steps, tasks.steps_async], ids=["sync", "async"])
def test_a_finished_step_never_runs_again(engine: str, mark: str, task: Any) -> None:
    result = finished(task.using(engine=engine).enqueue(mark, fail_after=2))
    assert result.return_value == ["step-1", "step-2", "step-3"]
    assert names(mark) == ["step-1", "step-2", "step-3"]
    assert result.attempts == 2
    assert result.progress is not None
    assert (result.progress.percent, result.progress.message) == (100.0, "step 3")
    steps = Step.objects.filter(execution_id=result.id).order_by("position")
    assert [(step.position, step.result) for step in steps] == [(0, "step-1"), (1, "step-2"), (2, "step-3")]


@pytest.mark.parametrize("task", [tasks.sleeper, tasks.sleeper_async], ids=["sync", "async"])
def test_a_sleep_suspends_and_resumes(engine: str, mark: str, task: Any) -> None:
    result = task.using(engine=engine).enqueue(mark, 1.5)
    in_phase(result, "sleeping")
    assert result.status == TaskResultStatus.READY
    assert finished(result).return_value == "after"
    assert names(mark) == ["before", "after"]
    assert result.attempts == 1
    before, after = (float(line[1]) for line in recorded(mark))
    assert after - before >= 1.4


def test_a_workflow_runs_on_either_engine(engine: str, mark: str) -> None:
    result = finished(tasks.workflow.using(engine=engine).enqueue(mark))
    assert result.return_value == ["first", "second"]
    assert names(mark) == ["first", "second"]


def test_a_body_may_catch_what_a_step_raises(engine: str, mark: str) -> None:
    result = finished(tasks.catches.using(engine=engine).enqueue(mark))
    assert result.return_value == "caught-the-step-failed"
    assert names(mark) == ["unreliable", "caught-the-step-failed"]


def test_a_step_that_is_not_json_fails_at_once(engine: str, mark: str) -> None:
    result = finished(tasks.step_not_json.using(engine=engine).enqueue(mark))
    assert result.phase == "failed"
    assert "The result of step 'set' cannot be kept as JSON" in result.errors[0].traceback
    assert len(recorded(mark)) == 1


def test_a_step_on_another_thread_is_refused(engine: str, mark: str) -> None:
    """On Restate it hung: one thread took the other's answer."""
    result = finished(tasks.steps_on_threads.using(engine=engine).enqueue(mark))
    assert (result.phase, names(mark)) == ("failed", [])
    assert "on a thread of its own" in result.errors[-1].traceback


def test_a_deferred_task_waits_for_its_time(engine: str) -> None:
    due = timezone.now() + timedelta(seconds=1.5)
    result = tasks.noop.using(engine=engine, run_after=due).enqueue()
    assert result.phase == "deferred"
    finished(result)
    assert result.started_at is not None
    assert result.started_at >= due


def test_a_cancelled_task_that_nobody_holds_never_runs(engine: str, mark: str) -> None:
    later = timezone.now() + timedelta(hours=1)
    result = tasks.refuse.using(engine=engine, run_after=later).enqueue(mark)
    assert result.cancel(by="anna") == "cancelled"
    result.refresh()
    assert (result.status, result.phase, result.cancelled_by) == (TaskResultStatus.FAILED, "cancelled", "anna")
    assert result.cancel() == "finished"


def test_a_running_task_sees_cancelled_and_may_clean_up(engine: str, mark: str) -> None:
    result = tasks.cancellable.using(engine=engine).enqueue(mark)
    until(lambda: names(mark) == ["started"], "the body did not start")
    assert result.cancel(by="anna") == "requested"
    assert finished(result).phase == "cancelled"
    assert names(mark) == ["started", "cancelled"]


def test_a_time_limit_fails_the_attempt(engine: str, mark: str) -> None:
    result = finished(tasks.too_long.using(engine=engine).enqueue(mark))
    assert result.phase == "failed"
    assert "TimeLimit" in result.errors[0].exception_class_path


def test_a_step_that_comes_back_after_its_time_limit_ends_no_later_attempt(mark: str) -> None:
    """Its thread cannot be stopped, and runs beside the next attempt, in one process."""
    result = finished(tasks.late_in_a_step.using(engine="restate").enqueue(mark))
    assert (result.phase, result.return_value) == ("succeeded", "second")
    assert names(mark) == ["started", "started"]
    assert [error.exception_class_path.rpartition(".")[2] for error in result.errors] == ["TimeLimitExceeded"]


def test_a_retry_may_go_to_the_other_engine(engine: str, mark: str) -> None:
    other = {"celery": "restate", "restate": "celery"}[engine]
    result = finished(tasks.fail_always.using(engine=engine).enqueue(mark))
    result.retry(engine=other)
    until(lambda: len(recorded(mark)) == 6, "the execution did not run on the other engine")
    finished(result)
    assert (result.engine, result.reason) == (other, "a retry asked for it")


def test_many(engine: str) -> None:
    results = tasks.add.using(engine=engine).enqueue_many([((number,), {"right": 1}) for number in range(1_200)])
    all_finished(results)
    assert [result.return_value for result in results] == list(range(1, 1_201))
    assert {result.attempts for result in results} == {1}


def test_a_rolled_back_enqueue_leaves_nothing(engine: str, mark: str) -> None:
    results: list[TaskResult] = []

    @transaction.atomic
    def fail() -> None:
        results.append(tasks.refuse.using(engine=engine).enqueue(mark))
        results.extend(tasks.refuse.using(engine=engine).enqueue_many([((mark,), {})] * 3))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(results) == 4
    for result in results:
        assert not Execution.objects.filter(pk=result.id).exists()
        with pytest.raises(TaskResultDoesNotExist):
            tasks.refuse.get_result(result.id)
    # What came later has run, so what was rolled back would have too.
    finished(tasks.noop.using(engine=engine).enqueue())
    assert recorded(mark) == []


def test_a_task_never_starts_before_its_row_is_committed(engine: str) -> None:
    with transaction.atomic():
        result = tasks.noop.using(engine=engine).enqueue()
        # Another task goes all the way meanwhile.
        connection_of_its_own = asyncio.run(_elsewhere(engine))
        inside = timezone.now()
    finished(result)
    assert result.started_at is not None
    assert result.started_at >= inside
    assert connection_of_its_own


async def _elsewhere(engine: str) -> bool:
    """Enqueue and finish another task on another thread, whose connection is in no transaction."""

    def go() -> bool:
        from django.db import connection  # noqa: PLC0415  # this thread's

        try:
            return finished(tasks.noop.using(engine=engine).enqueue()).is_finished
        finally:
            connection.close()

    return await asyncio.to_thread(go)


def test_one_idempotency_key_is_one_execution(engine: str, mark: str) -> None:
    call = tasks.refuse.using(engine=engine, idempotency_key=mark)
    first, second = call.enqueue(mark), call.enqueue("another argument")
    assert first.id == second.id
    assert second.args == [mark]
    finished(first)
    assert call.enqueue(mark).phase == "failed"
    assert len(recorded(mark)) == 1


def test_results_of_another_task(engine: str) -> None:
    result = tasks.noop.using(engine=engine).enqueue()
    with pytest.raises(TaskResultMismatch):
        tasks.add.get_result(result.id)
    finished(result)


def test_steps_of_an_async_body_may_run_at_once(engine: str, mark: str) -> None:
    result = finished(tasks.concurrent_steps.using(engine=engine).enqueue(mark))
    assert (result.phase, result.attempts) == ("succeeded", 2), result.errors
    assert result.return_value == ["first", "second", "third"]
    assert sorted(line[2] for line in recorded(mark)) == ["first", "second", "third"]
