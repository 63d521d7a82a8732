"""A ledger that is away for a moment while a body asks it something: the attempt is over, the body has not failed."""

import uuid
from typing import Any

import psycopg
import pytest

from tandem.embedded.stack import Stack
from tandem.ledger.models import Execution
from tests.integration.waiting import all_finished, finished, until
from tests.work import tasks
from tests.work.effects import recorded

_WAITING = """
SELECT pid FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO tandem_step%' AND pid <> pg_backend_pid()
"""

_END_IDLE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE query LIKE '%pg_sleep%' AND state = 'idle' AND pid <> pg_backend_pid()
"""

_END_ASLEEP = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE query LIKE '%AS in_a_step%' AND state = 'active' AND pid <> pg_backend_pid()
"""

_ROUTING = """
SELECT pid FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND query LIKE '%FROM tandem_override%' AND pid <> pg_backend_pid()
"""


@pytest.mark.parametrize("task", [tasks.slow_steps, tasks.slow_steps_async], ids=["sync", "async"])
def test_a_connection_lost_at_a_checkpoint_fails_no_body(workers: Stack, engine: str, task: Any) -> None:
    mark = uuid.uuid4().hex
    url = f"postgresql://tandem@127.0.0.1:{workers.ports.postgres}/tandem"
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as operator:
        holder.execute("LOCK TABLE tandem_step IN EXCLUSIVE MODE")
        result = task.using(engine=engine).enqueue(mark, 2, 0.05)
        [[pid]] = until(lambda: operator.execute(_WAITING).fetchall(), "a checkpoint waits")
        operator.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert finished(result).phase == "succeeded", result.errors
    starts = [facts[2] for facts in recorded(mark) if facts[2].startswith("start")]
    assert starts == ["start-0", "start-0", "start-1"], "the step that was not recorded, and no other, ran again"


@pytest.mark.parametrize("task", [tasks.late_family, tasks.late_family_async], ids=["sync", "async"])
def test_a_connection_lost_while_its_children_are_routed_fails_no_body(workers: Stack, engine: str, task: Any) -> None:
    url = f"postgresql://tandem@127.0.0.1:{workers.ports.postgres}/tandem"
    result = task.using(engine=engine).enqueue()
    until(lambda: Execution.objects.filter(pk=result.id, phase="waiting").exists(), "the body waits for its signal")
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as operator:
        holder.execute("LOCK TABLE tandem_override IN ACCESS EXCLUSIVE MODE")
        result.signal("go")
        [[pid]] = until(lambda: operator.execute(_ROUTING).fetchall(), "the routes are asked for")
        operator.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert finished(result).phase == "succeeded", result.errors
    assert result.return_value == [2, 3]


@pytest.mark.parametrize("task", [tasks.ask_database, tasks.ask_database_async], ids=["sync", "async"])
def test_no_body_is_given_a_connection_that_the_server_has_ended(workers: Stack, engine: str, task: Any) -> None:
    url = f"postgresql://tandem@127.0.0.1:{workers.ports.postgres}/tandem"
    task = task.using(engine=engine)
    before = [task.enqueue() for _ in range(12)]
    all_finished(before)
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute(_END_IDLE)
    after = [task.enqueue() for _ in range(12)]
    all_finished(after)
    assert [result.phase for result in after] == ["succeeded"] * 12, [result.errors for result in after]


def test_a_connection_lost_in_an_atomic_step_fails_no_body(workers: Stack, engine: str) -> None:
    mark = uuid.uuid4().hex
    url = f"postgresql://tandem@127.0.0.1:{workers.ports.postgres}/tandem"
    result = tasks.sleep_in_database.using(engine=engine).enqueue(mark)
    with psycopg.connect(url, autocommit=True) as operator:
        until(lambda: operator.execute(_END_ASLEEP).fetchall(), "the step's connection is ended")
    assert finished(result).phase == "succeeded", result.errors
    assert len(recorded(mark)) == 2
