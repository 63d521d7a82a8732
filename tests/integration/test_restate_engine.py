"""The engine's own calls: sending, asking, cancelling, and saying what is wrong."""

import logging
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from tandem import task
from tandem.configuration import Configuration
from tandem.declarations import Task, TaskResult
from tandem.embedded.ports import Ports
from tandem.embedded.stack import Stack
from tandem.engines.base import Reference
from tandem.engines.restate.engine import RestateEngine
from tandem.exceptions import BrokerUnavailable
from tandem.ledger.models import Event, Execution
from tests.integration.test_restate_service import insert
from tests.integration.waiting import all_finished, finished, in_phase, until
from tests.work import tasks
from tests.work.effects import recorded

pytestmark = pytest.mark.usefixtures("workers")


@pytest.fixture
def configuration(workers: object) -> Configuration:
    return Configuration.read("default", settings.TASKS["default"])


@pytest.fixture
def engine(configuration: Configuration) -> Iterator[RestateEngine]:
    made = RestateEngine(configuration)
    yield made
    made.close()


def elsewhere(configuration: Configuration) -> Configuration:
    """The same with a Restate where nothing listens."""
    assert configuration.restate is not None
    nobody = Ports.free()
    options = replace(
        configuration.restate,
        ingress_url=f"http://127.0.0.1:{nobody.restate_ingress}",
        admin_url=f"http://127.0.0.1:{nobody.restate_admin}",
    )
    return replace(configuration, restate=options)


def of(task_: Task, row: Execution | TaskResult) -> Reference:
    return Reference(id=uuid.UUID(str(row.id)), task=task_.module_path, queue="default", priority=0)


def test_a_second_send_is_harmless(engine: RestateEngine, mark: str) -> None:
    rows = [insert(tasks.refuse, mark) for _ in range(70)]
    batch = [of(tasks.refuse, row) for row in rows]
    for _ in range(2):
        assert engine.submit(batch) is None
    engine.submit(batch[:1])
    results = [tasks.refuse.get_result(str(row.id)) for row in rows]
    all_finished(results)
    assert len(recorded(mark)) == 70


def test_a_runtime_that_is_down_costs_one_caller_little_and_the_next_nothing(configuration: Configuration) -> None:
    engine = RestateEngine(elsewhere(configuration))
    batch = [Reference(id=uuid.uuid4(), task="tests.work.tasks.noop", queue="default", priority=0)]
    for most in (1.0, 0.05):
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=r"does not answer at .*ENGINES\['restate'\]\['INGRESS_URL'\]"):
            engine.submit(batch)
        assert time.monotonic() - started < most
    with pytest.raises(BrokerUnavailable):
        engine.submit(batch * 100)
    engine.close()


def test_a_process_without_the_admin_url_blames_the_ingress_alone(configuration: Configuration) -> None:
    """As web's and the workers' pods have it."""
    nowhere = elsewhere(configuration)
    assert nowhere.restate is not None
    engine = RestateEngine(replace(nowhere, restate=replace(nowhere.restate, admin_url="")))
    with pytest.raises(BrokerUnavailable, match=r"ENGINES\['restate'\]\['INGRESS_URL'\]"):
        engine.submit([Reference(id=uuid.uuid4(), task="tests.work.tasks.noop", queue="default", priority=0)])
    engine.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Restate that knows no service."""
    with Stack(data=tmp_path_factory.mktemp("empty"), ports=Ports.free(), only=("restate",)) as stack:
        yield stack


@pytest.fixture
def unregistered(configuration: Configuration, empty: Stack) -> Iterator[RestateEngine]:
    assert configuration.restate is not None
    options = replace(
        configuration.restate,
        ingress_url=empty.addresses["TANDEM_RESTATE_INGRESS_URL"],
        admin_url=empty.addresses["TANDEM_RESTATE_ADMIN_URL"],
    )
    made = RestateEngine(replace(configuration, restate=options))
    yield made
    made.close()


def test_what_is_not_registered_is_sent_later_and_says_why(
    unregistered: RestateEngine, caplog: pytest.LogCaptureFixture
) -> None:
    row = insert(tasks.noop, "unregistered")
    with caplog.at_level(logging.ERROR, "tandem.restate"):
        unregistered.submit([of(tasks.noop, row)])
    why = "does not know TandemTasks/execute: start `manage.py tandem service --register`"
    assert why in caplog.text
    row.refresh_from_db()
    assert (row.phase, row.sent_at) == ("queued", None)
    assert row.due_at is not None
    assert row.due_at > timezone.now()
    assert why in Event.objects.get(execution_id=row.id, kind="not sent").detail
    row.delete()


def test_what_became_of_references(engine: RestateEngine, mark: str) -> None:
    ended = finished(tasks.refuse.using(engine="restate").enqueue(mark))
    asleep = tasks.sleeper.using(engine="restate").enqueue(mark, 3600)
    in_phase(asleep, "sleeping")
    workflow = finished(tasks.workflow.using(engine="restate").enqueue(mark))
    never = insert(tasks.noop, phase="held")
    states = engine.inspect(
        [of(tasks.refuse, ended), of(tasks.sleeper, asleep), of(tasks.noop, never), of(tasks.workflow, workflow)]
    )
    found = [states[uuid.UUID(str(row.id))].kind for row in (ended, asleep, never, workflow)]
    assert found == ["ended", "alive", "absent", "ended"]
    assert asleep.cancel() == "cancelled"
    engine.cancel([of(tasks.sleeper, asleep), of(tasks.noop, never), of(tasks.refuse, ended)])
    given_up = of(tasks.sleeper, asleep)
    until(lambda: engine.inspect([given_up])[given_up.id].kind == "ended", "its invocation ends")


def test_what_the_runtime_has_is_left_alone(engine: RestateEngine, mark: str) -> None:
    """An overdue sleeper whose invocation is alive: its endpoint may be down, and the runtime goes on by itself."""
    result = tasks.sleeper.using(engine="restate").enqueue(mark, 3600)
    in_phase(result, "sleeping")
    past = timezone.now() - timedelta(hours=1)
    rows = Execution.objects.filter(pk=result.id)
    rows.update(due_at=past, sent_at=past)
    engine.find_lost(lease=3.0)
    row = rows.get()
    assert (row.phase, row.dispatch_number) == ("sleeping", 1)
    assert row.sent_at is not None
    assert row.sent_at > past
    assert result.cancel() == "cancelled"


def test_a_row_that_never_arrived_is_sent(mark: str) -> None:
    """Written as sent, as when a process dies between its commit and its push."""
    row = insert(tasks.refuse, mark)
    assert row.sent_at is not None
    assert finished(tasks.refuse.get_result(str(row.id))).phase == "failed"
    assert len(recorded(mark)) == 1


def test_check_of_a_sound_installation_says_nothing(engine: RestateEngine) -> None:
    assert engine.check() == []


def test_check_names_what_is_not_registered(unregistered: RestateEngine) -> None:
    (missing,) = unregistered.check()
    assert "TandemTasks/execute" in missing
    assert "Start `manage.py tandem service --register`" in missing


def absent() -> None:
    """A task of the app's that no process registered."""


absent.__module__ = tasks.__name__


def test_check_names_a_service_that_nobody_took(engine: RestateEngine) -> None:
    name = task(workflow="Absent")(absent).module_path
    try:
        (missing,) = engine.check()
    finally:
        del Task.known[name]
    assert "does not know the service Absent: its tasks run at TandemTasks/execute" in missing


def test_check_names_what_is_not_there(configuration: Configuration) -> None:
    engine = RestateEngine(elsewhere(configuration))
    ingress, admin = engine.check()
    assert "INGRESS_URL" in ingress
    assert "ADMIN_URL" in admin
    engine.close()
