"""What users' own tests rely on: the stub and the immediate engine behave as a running engine does."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.tasks import TaskResultStatus, task_backends
from django.tasks import task as django_task
from django.tasks.checks import check_tasks
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_finished
from django.test import SimpleTestCase, override_settings
from django.utils import timezone

from tandem import RouteError, TandemBackend
from tandem.configuration import Configuration
from tandem.declarations import TaskResult
from tandem.engines.memory import MemoryEngine
from tandem.exceptions import ConfigurationError
from tandem.management.arguments import backend_of
from tests.work import tasks


def on(engine: str, **options: Any) -> Any:
    """Settings with one engine in memory, and no queues: any name will do."""
    options = {"ENGINES": {engine: {}}, **options}
    return override_settings(TASKS={"default": {"BACKEND": "tandem.TandemBackend", "QUEUES": [], "OPTIONS": options}})


def engine_of(alias: str = "default") -> MemoryEngine:
    backend = task_backends[alias]
    assert isinstance(backend, TandemBackend)
    found = next(iter(backend.engines.values()))
    assert isinstance(found, MemoryEngine)
    return found


@pytest.fixture
def stub() -> Iterator[MemoryEngine]:
    with on("stub"):
        yield engine_of()


@contextmanager
def finished() -> Iterator[list[TaskResult]]:
    """The results that `task_finished` was sent with."""
    heard: list[TaskResult] = []

    def hear(task_result: TaskResult, **_: Any) -> None:
        heard.append(task_result)

    task_finished.connect(hear)
    try:
        yield heard
    finally:
        task_finished.disconnect(hear)


@pytest.mark.parametrize("engine", ["stub", "immediate"])
def test_results_do_not_outlive_an_override(engine: str) -> None:
    with on(engine):
        result = tasks.noop.enqueue()
        assert engine_of().results == [result]
    with on(engine):
        assert engine_of().results == []
        with pytest.raises(TaskResultDoesNotExist):
            tasks.noop.get_result(result.id)


@pytest.mark.parametrize("time", ["first", "second"])
def test_a_test_begins_without_the_results_of_another(time: str) -> None:
    assert engine_of().results == []
    tasks.noop.enqueue(time)


@pytest.mark.django_db
def test_what_was_rolled_back_leaves_nothing(stub: MemoryEngine) -> None:
    kept = tasks.noop.enqueue("kept")
    with transaction.atomic():
        lost = tasks.noop.enqueue("lost")
        inner = tasks.noop.using(idempotency_key="k").enqueue("inner")
        assert [result.id for result in stub.results] == [kept.id, lost.id, inner.id]
        transaction.set_rollback(True)
    assert [result.id for result in stub.results] == [kept.id]
    with pytest.raises(TaskResultDoesNotExist):
        tasks.noop.get_result(lost.id)
    # The key went with its row.
    again = tasks.noop.using(idempotency_key="k").enqueue("again")
    assert again.id != inner.id


@pytest.mark.django_db(transaction=True)
def test_what_committed_stays(stub: MemoryEngine) -> None:
    with transaction.atomic():
        first = tasks.noop.enqueue()
        with transaction.atomic():
            tasks.noop.enqueue("in a savepoint")
            transaction.set_rollback(True)
    assert [result.id for result in stub.results] == [first.id]


def test_an_idempotency_key_answers_the_first_result(stub: MemoryEngine) -> None:
    first = tasks.noop.using(idempotency_key="order-1").enqueue(1)
    assert tasks.noop.using(idempotency_key="order-1").enqueue(2) == first
    assert tasks.add.using(idempotency_key="order-1").enqueue(1).id != first.id
    assert tasks.noop.using(idempotency_key="order-2").enqueue(1).id != first.id
    assert len(stub.results) == 3


def test_cancel_and_retry_on_the_stub(stub: MemoryEngine) -> None:
    due = timezone.now() + timedelta(hours=1)
    result = tasks.noop.using(run_after=due).enqueue()
    assert (result.phase, result.task.run_after) == ("deferred", due)
    with pytest.raises(ValueError, match="is deferred: only failed"):
        result.retry()
    with finished() as heard:
        assert result.cancel(by="anna") == "cancelled"
        assert result.cancel() == "finished"
    assert [(item.id, item.phase) for item in heard] == [(result.id, "cancelled")]
    result.refresh()
    assert (result.phase, result.status, result.cancelled_by) == ("cancelled", TaskResultStatus.FAILED, "anna")
    assert result.finished_at is not None
    result.retry(engine="restate")
    again = tasks.noop.get_result(result.id)
    assert (again.phase, again.engine) == ("queued", "restate")
    assert again.finished_at is None
    for call in (result.cancel, result.retry):
        object.__setattr__(result, "id", "01a20599-e93a-7a45-8ecb-50db52cf5435")
        with pytest.raises(TaskResultDoesNotExist):
            call()


def test_signals_on_the_stub(stub: MemoryEngine) -> None:
    result = tasks.approval.enqueue("mark")
    result.signal("approved", {"by": ("anna", "bert")}, by="anna")
    sent = stub.signals[0]
    assert (sent.id, sent.name, sent.payload, sent.by) == (result.id, "approved", {"by": ["anna", "bert"]}, "anna")
    with pytest.raises(ValueError, match="1 to 200"):
        result.signal("")
    with pytest.raises(TypeError, match="JSON"):
        result.signal("approved", object())
    result.cancel()
    with pytest.raises(ValueError, match="is cancelled: no signal"):
        result.signal("approved")


@pytest.mark.parametrize(("engine", "phase"), [("stub", "queued"), ("immediate", "succeeded")])
def test_pinned_code_runs_in_memory(engine: str, phase: str) -> None:
    routes = {"default": "celery", "tasks": {"tests.work.tasks.add": "restate"}}
    with on(engine, ROUTES=routes):
        results = [tasks.noop.enqueue(), tasks.add.enqueue(1), tasks.noop.using(engine="restate").enqueue()]
        assert [(result.engine, result.phase) for result in results] == [
            ("celery", phase),
            ("restate", phase),
            ("restate", phase),
        ]
        assert tasks.noop.get_result(results[2].id) == results[2]
        with pytest.raises(RouteError, match="engine 'celry' is not configured; did you mean 'celery'"):
            tasks.noop.using(engine="celry").enqueue()


def test_bodies_get_what_json_makes_of_their_arguments() -> None:
    with on("immediate"):
        result = tasks.noop.enqueue((1, 2), {3: "three"}, key=(4,))
        assert (result.args, result.kwargs) == ([[1, 2], {"3": "three"}], {"key": [4]})
        seen = kinds.enqueue((1, 2), {3: "three"})
        assert seen.return_value == ["list", ["3"]]
        # What a body does to its arguments is its own.
        assert seen.args == [[1, 2], {"3": "three"}]


@django_task
def kinds(sequence: Any, mapping: Any) -> Any:
    answer = [type(sequence).__name__, list(mapping)]
    sequence.clear()
    mapping.clear()
    return answer


def test_the_immediate_engine_follows_the_tasks_retries(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_TEST_EFFECTS", str(tmp_path / "effects"))
    with on("immediate"), finished() as heard:
        third = tasks.fail_twice.enqueue("mark")
        assert (third.phase, third.return_value, third.attempts, len(third.errors)) == ("succeeded", 3, 3, 2)
        never = tasks.fail_always.enqueue("mark")
        assert (never.phase, never.attempts, len(never.errors)) == ("dead", 3, 3)
        refused = tasks.refuse.enqueue("mark")
        assert (refused.phase, refused.attempts) == ("failed", 1)
        refused.retry()
        refused.refresh()
        assert (refused.phase, refused.attempts, len(refused.errors)) == ("failed", 1, 2)
        assert refused.cancel() == "finished"
    assert [item.phase for item in heard] == ["succeeded", "dead", "failed", "failed"]


@pytest.mark.parametrize("engine", ["stub", "immediate"])
def test_memory_engines_ask_no_database(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with PostgreSQL in the settings, in a SimpleTestCase, or in pytest without its mark."""
    monkeypatch.setattr("tandem.ledger.connection.is_postgresql", lambda: True)

    class Case(SimpleTestCase):
        def runTest(self) -> None:  # noqa: N802  # unittest's name
            result = tasks.noop.using(idempotency_key="k").enqueue()
            tasks.noop.get_result(result.id).cancel()
            with pytest.raises(TaskResultDoesNotExist):
                tasks.noop.get_result("01a20599-e93a-7a45-8ecb-50db52cf5435")

    with on(engine):
        Case().debug()


@pytest.mark.parametrize(
    "changes",
    [{"priority": 7}, {"queue_name": "reports"}, {"run_after": timezone.now() - timedelta(days=1)}, {"owner": "anna"}],
)
def test_a_result_is_the_same_when_it_is_read(stub: MemoryEngine, changes: dict[str, Any]) -> None:
    result = tasks.noop.using(**changes).enqueue()
    assert tasks.noop.get_result(result.id) == result


def test_environment_routes_are_for_the_backend_with_a_ledger() -> None:
    environment = {"TANDEM_ROUTES": "default=restate"}
    running: dict[str, Any] = {"OPTIONS": {"ENGINES": {"restate": {}, "celery": {}}}}
    assert Configuration.read("default", running, environment).environment_routes == "default=restate"
    beside: dict[str, Any] = {"OPTIONS": {"ENGINES": {"stub": {}}}}
    assert Configuration.read("tests", beside, environment).environment_routes == ""


def two(*engines: str) -> Any:
    named = {
        name: {"BACKEND": "tandem.TandemBackend", "QUEUES": [], "OPTIONS": {"ENGINES": {name: {}}}} for name in engines
    }
    return override_settings(TASKS={"default": named.pop(engines[0]), **named})


def test_one_backend_alone_has_a_ledger() -> None:
    with two("celery", "restate"):
        errors = [message for message in check_tasks() if message.id == "tandem.E006"]
        assert len(errors) == 1
        assert "default, restate" in errors[0].msg
        with pytest.raises(ConfigurationError, match="take each other's rows"):
            backend_of()
    # It need not be the default one, and those in memory may stand beside it.
    with two("stub", "restate", "immediate"):
        assert [message for message in check_tasks() if message.id == "tandem.E006"] == []
        assert backend_of().alias == "restate"
    with two("stub"):
        assert backend_of().alias == "default"
    other = override_settings(TASKS={"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}})
    with other, pytest.raises(ConfigurationError, match=r"add one with BACKEND 'tandem\.TandemBackend'"):
        backend_of()
