"""A server of the ledger that can only be read since another became the primary: that fails no body, and is left."""

import asyncio
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import Any

import pytest
from django.db import InternalError, connection, transaction
from django.utils import timezone

from tandem import LedgerUnavailable
from tandem.engines.celery.durable import CeleryDurable
from tandem.execution.runner import Outcome, Runner
from tandem.ledger import connection as ledger
from tandem.ledger.hot import claims, inserts
from tandem.ledger.identity import new_id
from tandem.ledger.models import Execution
from tandem.ledger.relaying import backlog
from tandem.ledger.rows import NewExecution
from tests.work import tasks
from tests.work.failover import BODIES, READ_ONLY

pytestmark = pytest.mark.usefixtures("database")


def run(runner: Runner, task: Any, id_: Any) -> Outcome:
    claiming = claims.claim(id=id_, engine="nobody", worker="w", lease=30)
    if iscoroutinefunction(task.func):
        return asyncio.run(run_async(runner, claiming))
    return runner.run(claiming, CeleryDurable())


async def run_async(runner: Runner, claiming: Any) -> Outcome:
    try:
        return await runner.arun(claiming, CeleryDurable())
    finally:
        ledger.close_threads()


@pytest.mark.parametrize("task", BODIES, ids=lambda task: str(task.name))
def test_a_server_that_turns_read_only_fails_no_body(task: Any) -> None:
    id_ = new_id()
    new = NewExecution(
        id=id_,
        task=task.module_path,
        queue="failover",
        priority=0,
        arguments='{"args": [], "kwargs": {}}',
        engine="nobody",
        reason="default",
        pinned=False,
        phase="queued",
    )
    ledger.execute(inserts.insert_one(new))
    runner = Runner(lease_seconds=30, max_result_bytes=1_000, max_lost_leases=3)
    try:
        outcome = run(runner, task, id_)
    except LedgerUnavailable as error:
        assert "read-only" in str(error)  # noqa: PT017  # what has no attempt to end any more is the engine's to try
    else:
        assert (outcome.kind, "read-only" in outcome.error) == ("over", True), outcome
    row = Execution.objects.get(pk=id_)
    assert (row.phase, row.attempts, row.errors) == ("running", 0, [])
    # The next connection reaches the new primary.
    Execution.objects.filter(pk=id_).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    ledger.execute(backlog.requeue_expired([id_], most=3))
    assert run(runner, task, id_).kind == "succeeded"


def test_an_enqueue_leaves_a_server_that_can_only_be_read() -> None:
    with connection.cursor() as cursor:
        cursor.execute(READ_ONLY.sql)
    with pytest.raises(InternalError, match="read-only"):
        tasks.noop.enqueue()
    assert Execution.objects.filter(pk=tasks.noop.enqueue().id).exists()
    with connection.cursor() as cursor:
        cursor.execute(READ_ONLY.sql)
    with pytest.raises(InternalError, match="read-only"), transaction.atomic():
        tasks.noop.enqueue()
    with transaction.atomic():
        assert Execution.objects.filter(pk=tasks.noop.enqueue().id).exists()
