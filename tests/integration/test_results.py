"""A result is what the ledger says of its row, whoever reads it."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.tasks.signals import task_finished
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tandem.declarations import TaskResult
from tandem.engines.celery.durable import CeleryDurable
from tandem.execution.runner import Runner
from tandem.ledger import connection as ledger
from tandem.ledger import endings
from tandem.ledger.hot import claims
from tandem.ledger.models import Execution
from tandem.ledger.relaying import backlog
from tandem.ledger.rows import Claim
from tandem.ledger.statement import Statement
from tests.integration.waiting import until
from tests.work import tasks

pytestmark = pytest.mark.usefixtures("database")


@pytest.mark.parametrize(
    "changes",
    [
        {"priority": 7},
        {"queue_name": "other"},
        {"owner": "anna"},
        {"run_after": timezone.now() + timedelta(days=1)},
        {"run_after": timezone.now() - timedelta(days=1)},
        {"idempotency_key": "results"},
        {},
    ],
)
def test_a_result_is_the_same_when_it_is_read(engine: str, changes: dict[str, Any]) -> None:
    with transaction.atomic():
        result = tasks.noop.using(engine=engine, **changes).enqueue((1, 2), {3: "three"}, key=[4])
        assert tasks.noop.get_result(result.id) == result
        transaction.set_rollback(True)


@pytest.fixture
def heard() -> Iterator[list[TaskResult]]:
    """The results that `task_finished` was sent with in this process."""
    found: list[TaskResult] = []

    def hear(task_result: TaskResult, **_: Any) -> None:
        found.append(task_result)

    task_finished.connect(hear)
    yield found
    task_finished.disconnect(hear)


def claimed(engine: str, task: Any, *args: Any, **changes: Any) -> Statement[Claim | None]:
    """The claim of an execution that nobody was sent."""
    with transaction.atomic():
        id_ = task.using(engine=engine).enqueue(*args).id
        transaction.get_connection().run_on_commit.clear()
    Execution.objects.filter(pk=id_).update(**changes)
    return claims.claim(id=UUID(id_), engine=engine, worker="results", lease=60.0)


def test_what_task_finished_says_is_what_the_row_says(engine: str, heard: list[TaskResult]) -> None:
    runner = Runner(lease_seconds=60.0, max_result_bytes=1_000, max_lost_leases=3)
    runner.run(claimed(engine, tasks.add, 1, 2), CeleryDurable())
    runner.run(claimed(engine, tasks.fail, "why"), CeleryDurable())
    # No body sees these.
    runner.run(claimed(engine, tasks.add, 3, cancel_requested_at=timezone.now()), CeleryDurable())
    runner.run(claimed(engine, tasks.add, 4, lost_leases=4), CeleryDurable())
    until(lambda: len(heard) == 4, "a signal for each end")
    assert sorted(result.phase for result in heard) == ["cancelled", "dead", "failed", "succeeded"]
    for result in heard:
        kept = result.task.get_result(result.id)
        names = ("phase", "status", "finished_at", "errors", "worker_ids", "attempts", "args", "started_at")
        assert [getattr(result, name) for name in names] == [getattr(kept, name) for name in names]
        assert result.finished_at is not None
        assert len(result.errors) == (result.phase in {"failed", "dead"})


def test_task_finished_tells_of_a_family_that_was_cancelled_while_it_was_queued(
    engine: str, heard: list[TaskResult]
) -> None:
    later = tasks.noop.using(engine=engine, run_after=timezone.now() + timedelta(days=1))
    with transaction.atomic():
        parent, child = later.enqueue("parent"), later.enqueue("child")
        Execution.objects.filter(pk=child.id).update(parent=parent.id)
        parent.cancel(by="anna")
        assert heard == []
    assert {(result.id, result.phase, result.cancelled_by) for result in heard} == {
        (parent.id, "cancelled", "anna"),
        (child.id, "cancelled", "anna"),
    }
    parent.cancel()
    assert len(heard) == 2


def test_task_finished_tells_of_what_was_taken_from_the_dead(engine: str, heard: list[TaskResult]) -> None:
    claim = ledger.execute(claimed(engine, tasks.add, 1, queue=f"dead-{engine}", lost_leases=3))
    assert claim is not None
    Execution.objects.filter(pk=claim.id).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    taken = ledger.execute(backlog.requeue_expired([claim.id], most=3))
    endings.log_requeued(taken, lost="its lease", logger=logging.getLogger(__name__))
    until(lambda: len(heard) == 1, "a signal for the end")
    assert (heard[0].id, heard[0].phase, len(heard[0].errors)) == (str(claim.id), "dead", 1)


def test_what_enqueue_asks_the_database_is_seen_as_djangos_queries(engine: str) -> None:
    with transaction.atomic():
        tasks.noop.using(engine=engine).enqueue()
        with CaptureQueriesContext(connection) as seen:
            one = tasks.noop.using(engine=engine, owner="anna", idempotency_key="seen").enqueue({"a": [1]})
            tasks.noop.using(engine=engine).enqueue_many([((number,), {}) for number in range(3)])
            one.cancel()
        inserts = [query["sql"] for query in seen.captured_queries if "INSERT INTO tandem_execution" in query["sql"]]
        assert len(inserts) == 2
        assert any("FOR NO KEY UPDATE" in query["sql"] for query in seen.captured_queries)
        one.refresh()
        assert (one.args, one.phase) == ([{"a": [1]}], "cancelled")
        transaction.set_rollback(True)
