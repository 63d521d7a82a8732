import pickle
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.tasks import task, task_backends
from django.tasks.exceptions import InvalidTask
from django.utils import timezone

from tandem import ConfigurationError, TandemBackend, Task
from tests.work import tasks


def body() -> None:
    """A function at module level, as Django demands."""


def test_the_decorator_makes_tandems_task() -> None:
    assert isinstance(tasks.noop, Task)
    assert isinstance(tasks.noop.get_backend(), TandemBackend)
    assert tasks.fail_twice.retries == 3


def test_using_makes_a_copy() -> None:
    now = timezone.now()
    changed = tasks.noop.using(priority=10, queue_name="other", run_after=now, engine="celery", owner="anna")
    assert (changed.priority, changed.queue_name, changed.run_after) == (10, "other", now)
    assert (changed.engine, changed.owner) == ("celery", "anna")
    assert changed.using(idempotency_key="k").priority == 10
    assert (tasks.noop.priority, tasks.noop.engine, tasks.noop.owner) == (0, None, None)
    assert tasks.noop.using() == tasks.noop


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"retries": -1}, ConfigurationError, "retries is -1"),
        ({"retries": True}, ConfigurationError, "retries is True"),
        ({"backoff": "2"}, ConfigurationError, "backoff is '2'"),
        ({"time_limit": 0}, ConfigurationError, "time_limit is 0"),
        ({"requires": ["teleport"]}, InvalidTask, "requires 'teleport', which no engine has"),
        ({"retry": 3}, TypeError, r"on tests\.\S+\.body got 'retry', .* did you mean 'retries'\? It takes priority"),
        ({"frobnicate": 3}, TypeError, r"body got 'frobnicate', which Tandem does not take\. It takes priority"),
        ({"bind": True}, TypeError, r"body got 'bind', which Tandem does not take: write takes_context=True"),
        ({"max_retries": 3}, TypeError, "write retries="),
        ({"default_retry_delay": 3}, TypeError, "write backoff="),
        ({"autoretry_for": (OSError,)}, TypeError, "write retries=: every exception but tandem.Permanent is retried"),
        ({"rate_limit": "1/s"}, TypeError, "a queue of its own"),
        ({"soft_time_limit": 3}, TypeError, "write time_limit="),
        ({"name": "body"}, TypeError, "its dotted path"),
        ({"queue": "other"}, TypeError, "write queue_name="),
        ({"acks_late": True}, TypeError, "a dead worker ran is always run again"),
        ({"ignore_result": True}, TypeError, "the ledger keeps every execution"),
        ({"serializer": "pickle"}, TypeError, "arguments and results are JSON"),
        ({"priority": 101}, InvalidTask, "priority must be a whole number"),
        ({"queue_name": "nowhere"}, InvalidTask, "Queue 'nowhere' is not valid"),
        ({"takes_context": True}, InvalidTask, "first argument of 'context'"),
    ],
)
def test_a_wrong_option_is_refused_at_import(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        task(**options)(body)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"idempotency_kye": "x"}, TypeError, "did you mean 'idempotency_key'"),
        ({"frobnicate": "x"}, TypeError, r"'frobnicate'\. It takes priority"),
        ({"idempotency_key": ""}, ConfigurationError, "1 to 255 characters"),
        ({"run_after": datetime(2026, 1, 1)}, InvalidTask, "aware datetime"),  # noqa: DTZ001  # naive on purpose
        ({"queue_name": "nowhere"}, InvalidTask, "Queue 'nowhere' is not valid"),
    ],
)
def test_a_wrong_call_option_is_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tasks.noop.using(**changes)


def test_tasks_and_results_pickle() -> None:
    changed = tasks.fail_twice.using(priority=5, owner="anna")
    assert pickle.loads(pickle.dumps(changed)) == changed
    result = tasks.noop.enqueue(1)
    assert pickle.loads(pickle.dumps(result)) == result


def test_delay_and_apply_async_are_there_for_hands_that_know_celery() -> None:
    result = tasks.add.delay(1, right=2)
    assert (result.args, result.kwargs) == ([1], {"right": 2})
    later = tasks.add.apply_async([1], {"right": 2}, countdown=60, queue="other", priority=5)
    assert later.phase == "deferred"
    assert later.task.queue_name == "other"
    assert later.task.run_after is not None
    assert timedelta(seconds=50) < later.task.run_after - timezone.now() <= timedelta(seconds=60)


def test_apply_async_refuses_what_it_would_ignore() -> None:
    with pytest.raises(TypeError, match="got 'expires'"):
        tasks.add.apply_async([1], expires=5)
    with pytest.raises(TypeError, match="countdown or eta, not both"):
        tasks.add.apply_async([1], countdown=1, eta=timezone.now())


def test_one_backend_object_serves_the_alias() -> None:
    assert task_backends["default"] is tasks.noop.get_backend()
