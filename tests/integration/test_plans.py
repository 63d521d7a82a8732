"""Plans that stay good: cached when the tables were new and empty, used when they are full."""

from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader

from tandem.ledger import connection as ledger
from tandem.ledger.groups import in_one
from tandem.ledger.hot import attempts, claims, inserts
from tandem.ledger.identity import new_id, new_ids
from tandem.ledger.models import Execution
from tandem.ledger.operating import cancels, pruning, retries
from tandem.ledger.operating.load import load
from tandem.ledger.relaying import backlog, brokered, runtime
from tandem.ledger.rows import Claim, Error, Lease, NewExecution, Reference
from tandem.ledger.statement import Statement
from tandem.ledger.suspension import families, sleeps, waits, wakes
from tandem.management.arguments import filtered

pytestmark = pytest.mark.usefixtures("database")

ENGINE = "celery"
ERROR = Error(exception_class_path="builtins.ValueError", traceback="ValueError: x")


@pytest.fixture
def new_tables() -> Iterator[psycopg.Connection[Any]]:
    """The runner's connection, on tables as the migrations leave them, empty."""
    ledger.close()
    connection = ledger.own_connection()
    connection.execute("CREATE SCHEMA new_tables")
    connection.execute("SET search_path = new_tables")
    for label, name in sorted(MigrationLoader(None).disk_migrations):
        if label == Execution._meta.app_label:
            migration = call_command("sqlmigrate", label, name, stdout=StringIO())
            connection.execute(migration.encode(), prepare=False)
    yield connection
    connection.execute("DROP SCHEMA new_tables CASCADE")
    ledger.close()


def a_row() -> NewExecution:
    return NewExecution(
        id=new_id(),
        task="tests.work.tasks.noop",
        queue="default",
        priority=0,
        arguments='{"args": [], "kwargs": {}}',
        engine=ENGINE,
        reason="default",
        pinned=False,
        phase="queued",
        broker_epoch="e",
    )


def a_claim() -> Claim:
    """A row that is claimed."""
    new = a_row()
    ledger.execute(inserts.insert_one(new))
    claim = ledger.execute(claims.claim(id=new.id, engine=ENGINE, worker="w", lease=30.0))
    assert claim is not None
    return claim


def of_one_row(claim: Claim) -> list[Statement[Any]]:
    """Every statement that names its rows."""
    ids = [claim.id]
    named: dict[str, Any] = {"name": "step", "occurrence": 0, "position": 0, "seconds": 1.0}
    place: dict[str, Any] = {"name": "step", "occurrence": 0, "position": 0}
    claim_one = claims.claim(id=claim.id, engine=ENGINE, worker="w", lease=30.0)
    claim_invocation = claims.claim_invocation(
        id=claim.id, task="t", engine=ENGINE, worker="w", lease=30.0, dispatch_number=1, invocation="i"
    )
    finish = attempts.finish(claim.lease, outcome="succeeded", result="1", error=None)
    suspect = Reference(id=claim.id, task="t", queue="q", priority=0, dispatch_number=1, fence=1)
    return [
        inserts.mark_sent(ids, "e"),
        inserts.mark_unsent(ids),
        claim_one,
        in_one([claim_one]),
        claim_invocation,
        in_one([claim_invocation]),
        attempts.checkpoint(claim.lease, result="1", **named),
        attempts.progress(claim.lease, current=1.0, total=None, message=""),
        sleeps.suspend(claim.lease, **named),
        sleeps.resume(claim.lease, seconds=30.0),
        claims.release(claim.lease),
        finish,
        in_one([finish]),
        attempts.retry_later(claim.lease, seconds=1.0, counted=True, error=ERROR),
        attempts.park(claim.lease, error=ERROR),
        waits.receive(claim.lease, **place, signal="s"),
        waits.open_wait(claim.lease, **place, signal="s", seconds=1.0),
        waits.suspend_waiting(claim.lease, name="step", occurrence=0, wake_generation=0, awakeable=None),
        families.spawn(claim, **place, born=[]),
        families.children(claim.lease, ids=ids),
        families.answer_call(claim.lease, name="step", occurrence=0, result="1"),
        wakes.send_signal(id=claim.id, name="s", payload=1, by=None),
        wakes.wake(claim.id),
        wakes.wake_parent(claim.id),
        wakes.look_again(ids, seconds=1.0),
        cancels.cancel(id=claim.id, by=None),
        retries.retry(id=claim.id, engine=None),
        claims.heartbeat(
            worker="w",
            kind="worker",
            engine=ENGINE,
            queues=(),
            concurrency=1,
            stuck=0,
            leases=[claim.lease],
            seconds=30.0,
        ),
        backlog.requeue_expired(ids, most=3),
        brokered.mark_lost(ids),
        brokered.sent_times(ids, engine="celery"),
        brokered.fence_off(id=claim.id, worker="w"),
        backlog.requeue_dead(id=claim.id, worker="w", most=3),
        brokered.cancel_killed(claim.lease),
        brokered.requeue([claim.lease]),
        runtime.send_again({suspect: (True, "why")}, engine="restate"),
        runtime.seen_alive(ids, engine="restate"),
        inserts.mark_unsent(ids, seconds=1.0),
    ]


def test_what_names_its_rows_finds_them_by_primary_key(new_tables: psycopg.Connection[Any]) -> None:
    """A plan is cached for as long as the tables' statistics are: on a new ledger, past its first thousands of tasks.

    Seen with the plans that an empty table suggests: 4.5 ms of PostgreSQL's time for each of 10,000 tasks.
    """
    claim = [a_claim() for _ in range(5)][-1]
    new_tables.execute("ANALYZE tandem_execution")
    new_tables.execute("SET plan_cache_mode = force_generic_plan")
    wrong = {}
    for statement in of_one_row(claim):
        rows = new_tables.execute(b"EXPLAIN " + statement.sql.encode(), statement.parameters).fetchall()
        scans = [row[0].strip() for row in rows if " Scan " in row[0] and "tandem_execution" in row[0]]
        # Children are found by their parent.
        found = ("tandem_execution_pkey", "tandem_execution_children", "Bitmap Heap Scan")
        others = [scan for scan in scans if not any(name in scan for name in found)]
        if others:
            wrong[statement.name] = others
    assert wrong == {}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def test_what_writes_many_rows_takes_each_once_though_the_statistics_know_of_none(
    new_tables: psycopg.Connection[Any],
) -> None:
    """Seen: 27 s for 1,000 rows that were just enqueued, beside 30,000 that had finished when the table was analyzed."""
    row = a_row()

    def insert() -> list[UUID]:
        ids = new_ids(1_000)
        insert = inserts.insert_many(row, ids=ids, arguments=[row.arguments] * len(ids))
        new_tables.execute(insert.sql.encode(), insert.parameters)
        return ids

    for _ in range(20):
        insert()
    new_tables.execute("UPDATE tandem_execution SET phase = 'succeeded', outcome = 'succeeded', finished_at = now()")
    new_tables.execute("ANALYZE tandem_execution")
    ids = insert()
    some = [claims.claim(id=id_, engine=ENGINE, worker="w", lease=30.0) for id_ in ids[:64]]
    invoked = [
        claims.claim_invocation(
            id=id_, task=row.task, engine=ENGINE, worker="w", lease=30.0, dispatch_number=1, invocation="i"
        )
        for id_ in ids[:64]
    ]
    ends = [
        attempts.finish(Lease(id=id_, fence=1, worker="w"), outcome="succeeded", result=None, error=None)
        for id_ in ids[:64]
    ]
    seen = {Reference(id=id_, task="t", fence=0): (False, "why") for id_ in ids}
    for statement in (
        inserts.mark_sent(ids, "e"),
        inserts.mark_unsent(ids),
        runtime.not_sent(ids, seconds=0.0, why="why"),
        runtime.seen_alive(ids, engine=ENGINE),
        brokered.mark_lost(ids),
        runtime.send_again(seen, engine=ENGINE),
        wakes.look_again(ids, seconds=1.0),
        in_one(some),
        in_one(ends),
        in_one(invoked),
    ):
        explain = b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement.sql.encode()
        ((plans,),) = new_tables.execute(explain, statement.parameters).fetchall()
        for node in nodes(plans[0]["Plan"]):
            looked_at = sum(
                value for name, value in node.items() if name == "Actual Rows" or name.startswith("Rows Rem")
            )
            # The table's 21,000 rows may be read, once or twice; not once for each row.
            assert node["Actual Loops"] * looked_at < 100 * len(ids), (statement.name, node["Node Type"])


def looked_at(connection: psycopg.Connection[Any], statement: Statement[Any]) -> int:
    """The most rows that any part of a statement's plan reads of executions, with those that it throws away."""
    explain = b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement.sql.encode()
    ((plans,),) = connection.execute(explain, statement.parameters).fetchall()
    read = [
        int(node["Actual Loops"])
        * sum(int(value) for name, value in node.items() if name == "Actual Rows" or name.startswith("Rows Rem"))
        for node in nodes(plans[0]["Plan"])
        if "Index Name" in node or node.get("Relation Name") == "tandem_execution"
    ]
    return max(read)


@pytest.mark.parametrize("generic", [False, True])
def test_what_walks_a_backlog_reads_no_more_of_it_than_its_stretch(
    new_tables: psycopg.Connection[Any], *, generic: bool
) -> None:
    """Seen: 100,000 that wait were sorted for each stretch of 10,000, and read each half second for leases that ran out."""
    row = a_row()
    for engine in ("celery", "restate"):
        for _ in range(10):
            ids = new_ids(1_000)
            insert = inserts.insert_many(replace(row, engine=engine), ids=ids, arguments=[row.arguments] * len(ids))
            new_tables.execute(insert.sql.encode(), insert.parameters)
    # At Restate it waits for its time, and nothing is to be asked.
    new_tables.execute(
        "UPDATE tandem_execution SET phase = 'sleeping', due_at = now() + interval '1 day' WHERE engine = 'restate'"
    )
    new_tables.execute("VACUUM ANALYZE tandem_execution")
    new_tables.execute(f"SET plan_cache_mode = force_{'generic' if generic else 'custom'}_plan".encode())
    bands: Any = [(-100, 0, None), (1, 100, None)]
    walk: dict[str, Any] = {"queue": "default", "after": None, "limit": 4_000}
    for statement in (
        brokered.lost_with_epoch(engine="celery", broker_epoch="e", lease=15.0, **walk),
        brokered.overtaken(engine="celery", heads=bands, **walk),
        backlog.expired(engine="celery", **walk),
        runtime.suspects(engine="restate", queue="default", age=15.0, lease=15.0, limit=100),
        load(engine="celery", most=4_000),
    ):
        assert looked_at(new_tables, statement) <= 4_000, statement.name


def test_a_list_of_what_is_not_over_reads_nothing_that_is(new_tables: psycopg.Connection[Any]) -> None:
    """Seen: `list --phase held`, of which there was none, read all of 10,000,000 that had finished."""
    row = a_row()
    for _ in range(10):
        ids = new_ids(1_000)
        insert = inserts.insert_many(row, ids=ids, arguments=[row.arguments] * len(ids))
        new_tables.execute(insert.sql.encode(), insert.parameters)
    new_tables.execute("UPDATE tandem_execution SET phase = 'succeeded', outcome = 'succeeded', finished_at = now()")
    insert = inserts.insert_many(row, ids=new_ids(100), arguments=[row.arguments] * 100)
    new_tables.execute(insert.sql.encode(), insert.parameters)
    new_tables.execute("VACUUM ANALYZE tandem_execution")
    for phase in ("held", "parked,retrying"):
        parameters: Any
        sql, parameters = filtered({"phase": phase})[:20].query.sql_with_params()
        assert looked_at(new_tables, Statement("list", sql, parameters, list)) <= 100, phase


def test_no_statement_is_compiled() -> None:
    """A little table that is read whole looks dear to a connection that is told to use indexes."""
    ledger.close()
    for statement in (brokered.consumed_queues(engine="celery", seconds=1), pruning.prune(days=10_000, limit=1)):
        explained = Statement("explain", f"EXPLAIN (ANALYZE) {statement.sql}", statement.parameters, list)
        assert not [line for (line,) in ledger.execute(explained) if "JIT" in line], statement.name
