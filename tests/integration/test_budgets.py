"""The budgets of the hot path: statements as libpq sends them, round trips as the broker counts them."""

import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
from django.db import connections

from tandem.configuration import Configuration
from tandem.declarations import Task
from tandem.embedded.ports import Ports
from tandem.embedded.stack import Stack
from tandem.engines.base import Reference
from tandem.engines.celery.engine import CeleryEngine
from tandem.engines.celery.lists import step_of
from tandem.execution.durable import Durable
from tandem.execution.runner import Runner
from tandem.ledger import connection as ledger
from tandem.ledger.hot import claims, inserts
from tandem.ledger.identity import new_id, new_ids
from tandem.ledger.models import Override
from tandem.ledger.rows import NewExecution
from tandem.ledger.statement import Statement
from tests.work import tasks


class Counted:
    """What a block sent: one Execute or Query message for each statement."""

    statements = 0


@contextmanager
def counting(*raw: Any) -> Iterator[Counted]:
    """Trace libpq's messages on connections, and count the statements among them."""
    counted = Counted()
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in raw]
        for connection, file in zip(raw, files, strict=True):
            connection.pgconn.trace(file.fileno())
        yield counted
        for connection, file in zip(raw, files, strict=True):
            connection.pgconn.untrace()
            file.seek(0)
            sent = [line.split(b"\t") for line in file.read().splitlines()]
            counted.statements += sum(b"F" in line and bool({b"Execute", b"Query"} & set(line)) for line in sent)


def django_connection() -> Any:
    connection = connections["default"]
    connection.ensure_connection()
    return connection.connection


def runner_connection() -> Any:
    """The runner's own connection of this thread."""
    ledger.execute(Statement("open", "SELECT 1", {}, list))
    return ledger.own_connection()


@pytest.fixture
def settled(database: None, effects: Path) -> None:
    """Warm: connections open, the broker's epoch known, overrides read and not due again."""
    Override.objects.all().delete()
    backend = tasks.noop.get_backend()
    object.__setattr__(backend.configuration, "override_seconds", 3600.0)
    backend.router.rules(fresh=True)
    for engine in ("celery", "restate"):
        tasks.elsewhere.using(engine=engine).enqueue()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker that nobody else talks to."""
    with Stack(data=tmp_path_factory.mktemp("broker"), ports=Ports.free(), only=["redis"]) as stack:
        yield stack.addresses["TANDEM_BROKER_URL"]


def traffic(client: redis.Redis) -> tuple[int, int]:
    """Commands and read events of a broker so far."""
    found: Any = client.info("stats")
    return found["total_commands_processed"], found["total_reads_processed"]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("engine", ["celery", "restate"])
def test_enqueue_is_one_insert(engine: str) -> None:
    with counting(django_connection()) as counted:
        tasks.noop.using(engine=engine).enqueue(1)
    assert counted.statements == 1


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("count", [1_000, 2_500])
def test_enqueue_many_is_one_insert_for_each_thousand(count: int) -> None:
    with counting(django_connection()) as counted:
        tasks.noop.using(engine="celery").enqueue_many([((1,), {})] * count)
    # BEGIN and COMMIT around them.
    assert counted.statements == -(-count // 1_000) + 2


@pytest.mark.parametrize("count", [1, 1_000])
def test_a_push_is_one_round_trip(broker: str, count: int) -> None:
    params = {"OPTIONS": {"ENGINES": {"celery": {"BROKER_URL": broker}}}}
    engine = CeleryEngine(Configuration.read("default", params))
    batch = [Reference(id=id_, task="tests.work.tasks.noop", queue="default", priority=0) for id_ in new_ids(count)]
    client = redis.Redis.from_url(broker)
    client.flushdb()
    engine.submit(batch)
    commands, reads = traffic(client)
    engine.submit(batch)
    commands_after, reads_after = traffic(client)
    # The epoch's SET NX and GET, and one LPUSH; and the INFO that asks.
    assert commands_after - commands == 3 + 1
    if count == 1:  # A large push takes several reads of the socket.
        assert reads_after - reads == 1 + 1
    assert client.llen(engine.lists.key("default", step_of(0))) == 2 * count
    client.close()
    engine.close()


def run(id_: UUID) -> str:
    """Run an execution in this process, as a worker of either engine does."""
    runner = Runner(lease_seconds=30, max_result_bytes=1_000_000, max_lost_leases=3)
    claiming = claims.claim(id=id_, engine="nobody", worker="budget", lease=30)
    return runner.run(claiming, Durable()).kind


def written(task: Task, *args: Any, **kwargs: Any) -> UUID:
    """A queued row that was sent to nobody, so that no worker takes it first."""
    new = NewExecution(
        id=new_id(),
        task=task.module_path,
        queue="default",
        priority=0,
        arguments=json.dumps({"args": args, "kwargs": kwargs}),
        engine="nobody",
        reason="default",
        pinned=False,
        phase="queued",
    )
    ledger.execute(inserts.insert_one(new))
    return new.id


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    ("task", "expected"),
    [
        pytest.param(tasks.noop, 2, id="plain"),
        # Claim, three steps, the first progress and the last, finish.
        pytest.param(tasks.steps, 1 + 3 + 2 + 1, id="steps"),
    ],
)
def test_an_attempt_is_a_claim_its_steps_and_a_finish(task: Task, expected: int) -> None:
    id_ = written(task, uuid.uuid4().hex)
    with counting(runner_connection(), django_connection()) as counted:
        assert run(id_) == "succeeded"
    assert counted.statements == expected


@pytest.mark.usefixtures("settled")
def test_recorded_steps_are_loaded_in_one_statement_and_only_after_an_earlier_claim() -> None:
    id_ = written(tasks.steps, uuid.uuid4().hex, fail_after=3)
    assert run(id_) == "retrying"
    ledger.execute(
        Statement(
            "send",
            "UPDATE tandem_execution SET phase = 'queued', due_at = NULL WHERE id = %(id)s RETURNING 1",
            {"id": id_},
            list,
        )
    )
    with counting(runner_connection()) as counted:
        assert run(id_) == "succeeded"
    # Claim, the recorded steps, the first progress and the last, finish: no step is written again.
    assert counted.statements == 1 + 1 + 2 + 1


@pytest.mark.usefixtures("settled")
def test_at_most_five_indexes_on_executions() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_indexes WHERE tablename = 'tandem_execution'")
        assert cursor.fetchone() == (5,)
