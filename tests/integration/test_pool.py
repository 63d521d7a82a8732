"""Bodies that share a pool of Django's: each gives its connection back, and the ledger's own are not of it."""

import json
from typing import Any

import pytest

from tests.celery_work.stage import Stage
from tests.integration.waiting import all_finished
from tests.work import isolation, tasks

pytestmark = pytest.mark.usefixtures("celery")


def test_more_bodies_than_a_pool_has_connections(celery: Stage, mark: str) -> None:
    options = {"pool": {"min_size": 1, "max_size": 2, "timeout": 10}}
    celery.spawn(
        *("-m", "django", "tandem", "worker", "--pool", "threads", "--concurrency", "6"),
        environment={"TANDEM_TEST_DATABASE_OPTIONS": json.dumps(options)},
    )
    results: list[Any] = []
    for number in range(6):
        results.append(isolation.leave_transaction.enqueue(f"{mark}-left-{number}"))
        results.append(isolation.leave_transaction_async.enqueue(f"{mark}-left-async-{number}"))
        results += [tasks.ask_database.enqueue(), isolation.leave_behind_async.enqueue()]
    all_finished(results)
    assert [result.phase for result in results] == ["succeeded"] * len(results), [result.errors for result in results]
