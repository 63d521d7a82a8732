"""Once rows are written no send is the caller's trouble: what it raises is logged, and the relay sends them."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.tasks import default_task_backend, task_backends
from django.tasks.signals import task_enqueued

from tandem import TandemBackend
from tandem.exceptions import BrokerUnavailable
from tandem.ledger import connection as ledger
from tandem.ledger.models import Execution
from tandem.operations import signal
from tests.work import tasks


class Odd(Exception):
    """No error that anybody foresaw."""


def engines() -> Any:
    backend = task_backends["default"]
    assert isinstance(backend, TandemBackend)
    return backend.engines


@pytest.fixture(params=["celery", "restate"])
def broken(request: pytest.FixtureRequest, database: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an engine that raises what no engine should."""

    def submit(_batch: Any) -> None:
        raise Odd("a message that cannot be built")

    monkeypatch.setattr(engines()[request.param], "submit", submit)
    return str(request.param)


def calls(engine: str) -> dict[str, Callable[[], list[str]]]:
    """What may be called, with the ids of what it wrote."""
    pinned = tasks.noop.using(engine=engine)

    def retried() -> list[str]:
        id_ = pinned.enqueue().id
        Execution.objects.filter(pk=id_).update(phase="failed", due_at=None)
        default_task_backend.retry(id_)  # type: ignore[attr-defined]  # ours
        return [id_]

    return {
        "enqueue": lambda: [pinned.enqueue().id],
        "enqueue_many": lambda: [result.id for result in pinned.enqueue_many([((), {}), ((), {})])],
        "retry": retried,
    }


@pytest.mark.parametrize("what", ["enqueue", "enqueue_many", "retry"])
def test_no_error_of_a_send_reaches_the_caller(broken: str, what: str, caplog: pytest.LogCaptureFixture) -> None:
    call = calls(broken)[what]
    said: list[str] = []
    for attempt in (call, lambda: _inside(call, said)):
        for id_ in attempt():
            row = Execution.objects.get(pk=id_)
            assert (row.phase, row.engine, row.due_at is not None) == ("queued", broken, True)
    assert said == ["the caller's own callback"]
    (first, *_) = [record for record in caplog.records if record.name == "tandem.backend"]
    assert first.levelno == logging.ERROR
    assert "cannot be built" in caplog.text


def _inside(call: Callable[[], list[str]], said: list[str]) -> list[str]:
    with transaction.atomic():
        ids = call()
        transaction.on_commit(lambda: said.append("the caller's own callback"))
    return ids


@pytest.mark.parametrize("engine", ["celery", "restate"])
def test_a_broker_that_is_slow_holds_a_caller_for_a_part_and_the_relay_sends_the_rest(
    engine: str, database: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, pushed = [0.0], list[int]()

    def submit(batch: Any) -> None:
        pushed.append(len(batch))
        clock[0] += 1.5

    slow = engines()[engine]
    monkeypatch.setattr(slow, "submit", submit)
    monkeypatch.setattr("tandem.enqueueing.monotonic", lambda: clock[0])
    # Seen as they are marked: a relay that another test started may have them at once.
    execute, marked = ledger.execute_in_transaction, dict[str, int]()

    def noted(statement: Any) -> Any:
        found = execute(statement)
        if statement.name == "mark_unsent":
            marked[statement.name] = found
        return found

    monkeypatch.setattr(ledger, "execute_in_transaction", noted)
    results = tasks.noop.using(engine=engine).enqueue_many([((), {})] * (3 * slow.push_size))
    assert pushed == [slow.push_size] * 2
    assert marked == {"mark_unsent": slow.push_size}
    assert f"{slow.push_size} of {len(results)} execution(s) are left to the relay" in caplog.text


@pytest.mark.parametrize("error", [Odd("odd"), BrokerUnavailable("away")], ids=["odd", "away"])
def test_all_parts_that_were_not_pushed_are_the_relays(
    error: Exception, database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, execute, marked = engines()["restate"], ledger.execute_in_transaction, list[int]()

    def submit(_batch: Any) -> None:
        raise error

    def noted(statement: Any) -> Any:
        found = execute(statement)
        if statement.name == "mark_unsent":
            marked.append(found)
        return found

    monkeypatch.setattr(engine, "submit", submit)
    monkeypatch.setattr(ledger, "execute_in_transaction", noted)
    count = len(tasks.noop.using(engine="restate").enqueue_many([((), {})] * (2 * engine.push_size + 1)))
    assert marked == [count]


@pytest.mark.parametrize("engine", ["celery", "restate"])
def test_a_ledger_that_goes_away_after_the_commit_is_no_error_either(
    engine: str, database: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    execute = ledger.execute_in_transaction

    def gone(statement: Any) -> Any:
        if statement.name in {"mark_sent", "mark_unsent", "wake"}:
            raise OperationalError("the server closed the connection")
        return execute(statement)

    monkeypatch.setattr(ledger, "execute_in_transaction", gone)
    monkeypatch.setattr(engines()[engine], "submit", lambda _batch: "another epoch")
    id_ = tasks.noop.using(engine=engine).enqueue().id
    assert Execution.objects.get(pk=id_).phase == "queued"
    signal(id_, "approved", None, by=None)
    assert caplog.text.count("which the relay will do") == 2
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM tandem_signal WHERE execution_id = %s", [id_])
        assert cursor.fetchall() == [("approved",)]


def test_who_hears_of_an_enqueue_cannot_undo_it(database: None) -> None:
    def hear(**_: Any) -> None:
        raise Odd("a receiver's own")

    task_enqueued.connect(hear)
    try:
        result = tasks.noop.enqueue()
    finally:
        task_enqueued.disconnect(hear)
    assert Execution.objects.filter(pk=result.id).exists()
