"""Claims and heartbeats update rows in place, in a database where nobody else's snapshot keeps dead rows from going."""

from collections.abc import Iterator
from itertools import batched
from typing import Any

import pytest

from tandem.embedded.stack import Stack
from tandem.ledger import connection as ledger
from tandem.ledger.hot import claims, inserts
from tandem.ledger.identity import new_id
from tandem.ledger.rows import NewExecution
from tests.integration.ledger_database import ledger_database

LEASE = 30.0
UPDATES = "SELECT n_tup_upd, n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'tandem_execution'"


@pytest.fixture
def alone(servers: Stack, django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock(), ledger_database(servers):
        ask("ALTER TABLE tandem_execution SET (autovacuum_enabled = off)")
        # A row version goes only once the commit that replaced it is on disk.
        ask("SET synchronous_commit = on")
        yield


def ask(sql: str) -> list[tuple[Any, ...]]:
    """Ask on the runner's own connection."""
    with ledger.own_connection().cursor() as cursor:
        cursor.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def updates() -> tuple[int, int]:
    """Updates of executions and those that were not heap-only, with this session's own handed over first."""
    for sql in ("SELECT pg_stat_force_next_flush()", "SELECT 1", "SELECT pg_stat_clear_snapshot()"):
        ask(sql)
    return ask(UPDATES)[0][0], ask(UPDATES)[0][1]


def insert() -> Any:
    new = NewExecution(
        id=new_id(),
        task="tests.work.tasks.noop",
        queue="default",
        priority=0,
        arguments='{"args": [], "kwargs": {}}',
        engine="celery",
        reason="default",
        pinned=False,
        phase="queued",
        broker_epoch="e",
    )
    ledger.execute(inserts.insert_one(new))
    return new.id


@pytest.mark.usefixtures("alone")
def test_claim_and_heartbeat_are_heap_only() -> None:
    """No index names a column they write, so that they update in place; measured by PostgreSQL's own count."""
    ids = [insert() for _ in range(100)]
    updated, moved = updates()
    for some in batched(ids, 4):
        claiming = [claims.claim(id=id_, engine="celery", worker="hot", lease=LEASE) for id_ in some]
        leases = [claim.lease for claim in map(ledger.execute, claiming) if claim is not None]
        assert len(leases) == len(some)
        ledger.execute(
            claims.heartbeat(
                worker="hot",
                kind="worker",
                engine="celery",
                queues=(),
                concurrency=4,
                stuck=0,
                leases=leases,
                seconds=LEASE,
            )
        )
    updated_after, moved_after = updates()
    assert updated_after - updated == 200
    # A page that is full sends a row elsewhere before it is tidied, three times a page here: 12 of 200. An index that
    # named a column that they write would move every row, every time.
    assert moved_after - moved <= 20
