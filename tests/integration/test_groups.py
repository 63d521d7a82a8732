"""Statements that go together: each row its own answer, whatever the others are, and nobody waits for another's row."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django.plugin import DjangoDbBlocker

from tandem.embedded.stack import Stack
from tandem.ledger import connection as ledger
from tandem.ledger.groups import Groups, in_one
from tandem.ledger.hot import attempts, claims
from tandem.ledger.identity import new_id
from tandem.ledger.models import Event, Execution
from tandem.ledger.rows import Claim, Error, Lease
from tandem.ledger.statement import Statement
from tandem.phases import ENDED, STATUS_OF_PHASE
from tests.integration.ledger_database import EMPTIED, ledger_database
from tests.integration.waiting import PATIENCE, until

ERROR = Error(exception_class_path="builtins.ValueError", traceback="ValueError: x")
NOBODY = UUID(int=0)
AT = datetime(2026, 1, 1, tzinfo=UTC)
EXAMPLES = os.environ.get("TANDEM_TEST_EXAMPLES")
SETTINGS = settings(
    max_examples=int(EXAMPLES or 50),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "phase": st.sampled_from(sorted(STATUS_OF_PHASE)),
            "engine": st.sampled_from(["celery", "restate"]),
            "task": st.sampled_from(["t", "another"]),
            "fence": st.integers(0, 2),
            "attempts": st.integers(0, 2),
            "dispatch_number": st.integers(1, 2),
            "invocation": st.sampled_from([None, "i", "another"]),
            "worker_ids": st.lists(st.sampled_from(["w1", "w2"]), max_size=2),
            "is_leased": st.booleans(),
            "is_due": st.booleans(),
            "is_cancelled": st.booleans(),
        }
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(autouse=True)
def own_database(servers: Stack, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock(), ledger_database(servers):
        yield


def put(phase: str = "queued", **changes: Any) -> UUID:
    """A row, as it may stand in the ledger."""
    now = timezone.now()
    leased, due, cancelled = (changes.pop(name, False) for name in ("is_leased", "is_due", "is_cancelled"))
    row = {"task": "t", "queue": "q", "engine": "celery", "reason": "default", "arguments": {"args": [], "kwargs": {}}}
    times = {
        "created_at": now,
        "sent_at": now,
        "due_at": now if due else None,
        "lease_expires_at": now + timedelta(seconds=30) if leased else None,
        "cancel_requested_at": now if cancelled else None,
    }
    outcome = phase if phase in ENDED else None
    created = Execution(id=new_id(), phase=phase, outcome=outcome, worker="before", **{**row, **times, **changes})
    created.save(force_insert=True)
    return created.pk


def state(id_: UUID) -> dict[str, Any]:
    """Everything of a row that is not a time or its id, whether each time is set, and its events."""
    row = Execution.objects.filter(pk=id_).values().get()
    kept = {name: value is not None if name.endswith("_at") else value for name, value in row.items() if name != "id"}
    events = Event.objects.filter(execution_id=id_).values_list("kind", "detail")
    return kept | {"events": sorted(events)}


def same(claim: Claim | None) -> Claim | None:
    """A claim without what differs between two rows that are alike."""
    if claim is None:
        return None
    return replace(claim, id=NOBODY, created_at=AT, started_at=AT, last_attempted_at=AT)


def alike(
    rows: Sequence[dict[str, Any]], make: Callable[[int, UUID], Statement[Any]], read: Callable[..., Any]
) -> None:
    """What statements do together is what each does alone, to rows that are alike."""
    ledger.execute(EMPTIED)
    together, alone = [put(**row) for row in rows], [put(**row) for row in rows]
    asked = [make(number, id_) for number, id_ in enumerate(together)]
    found = ledger.execute(in_one(asked))
    assert set(found) <= set(together)
    for number, (of_group, by_itself) in enumerate(zip(together, alone, strict=True)):
        one = make(number, by_itself)
        row = found.get(of_group)
        assert read(one.read([]) if row is None else one.read([row])) == read(ledger.execute(one))
        assert state(of_group) == state(by_itself)


@SETTINGS
@given(rows=ROWS)
def test_claims_together_are_claims_alone(rows: list[dict[str, Any]]) -> None:
    def claim(number: int, id_: UUID) -> Statement[Claim | None]:
        return claims.claim(id=id_, engine="celery", worker=f"w{number}", lease=30.0 + number)

    alike(rows, claim, same)


@SETTINGS
@given(rows=ROWS, wanted=st.lists(st.tuples(st.integers(1, 2), st.sampled_from(["i", "another"])), min_size=6))
def test_claims_by_invocations_together_are_claims_alone(
    rows: list[dict[str, Any]], wanted: list[tuple[int, str]]
) -> None:
    def claim(number: int, id_: UUID) -> Statement[Claim | None]:
        dispatch, invocation = wanted[number]
        return claims.claim_invocation(
            id=id_,
            task="t",
            engine="restate",
            worker=f"w{number}",
            lease=30.0,
            dispatch_number=dispatch,
            invocation=invocation,
        )

    alike(rows, claim, same)


@SETTINGS
@given(
    rows=ROWS,
    ends=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(ENDED), st.sampled_from([None, "{}", '"x"']), st.booleans()),
        min_size=6,
    ),
)
def test_ends_together_are_ends_alone(
    rows: list[dict[str, Any]], ends: list[tuple[int, str, str | None, bool]]
) -> None:
    def finish(number: int, id_: UUID) -> Statement[Any]:
        fence, outcome, result, failed = ends[number]
        lease = Lease(id=id_, fence=fence, worker="w")
        return attempts.finish(lease, outcome=outcome, result=result, error=ERROR if failed else None)

    alike(rows, finish, lambda at: at is not None)


def claim_of(id_: UUID) -> Statement[Claim | None]:
    return claims.claim(id=id_, engine="celery", worker="w", lease=30.0)


@contextmanager
def another() -> Iterator[psycopg.Connection[Any]]:
    """Another session, in a transaction of its own."""
    connection = ledger.connect()
    connection.autocommit = False
    try:
        yield connection
    finally:
        connection.close()


def waiting_for_locks(count: int) -> Callable[[], bool]:
    query = """SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE %(query)s"""
    asked = Statement("waiting", query, {"query": "%tandem_execution%"}, lambda rows: rows[0][0])
    return lambda: ledger.execute(asked) == count


@contextmanager
def closed_on_error(holder: psycopg.Connection[Any]) -> Iterator[None]:
    """Let go of its locks those who wait for them, where the test has failed."""
    try:
        yield
    except BaseException:
        holder.close()
        raise


@contextmanager
def asked_at_once(
    holder: psycopg.Connection[Any], statements: Sequence[Statement[Any]], *, groups: Groups
) -> Iterator[list[Future[Any]]]:
    """Have statements asked while the first of them waits for a table that is locked, so that the others go together."""
    name, *_ = {statement.name for statement in statements}
    with ThreadPoolExecutor(len(statements)) as threads, closed_on_error(holder):
        holder.execute("SAVEPOINT before")
        holder.execute("LOCK TABLE tandem_execution IN SHARE MODE")
        asked = [threads.submit(groups.execute, statements[0])]
        until(waiting_for_locks(1), "the first waits for the table")
        asked += [threads.submit(groups.execute, statement) for statement in statements[1:]]
        until(lambda: groups.waiting(name) == len(statements) - 1, "all others wait for their turn")
        holder.execute("ROLLBACK TO SAVEPOINT before")
        yield asked


def by_transaction(ids: Sequence[UUID]) -> int:
    """In how many transactions rows were written."""
    sql = "SELECT count(DISTINCT xmin::text) FROM tandem_execution WHERE id = ANY(%(ids)s)"
    return ledger.execute(Statement("by_transaction", sql, {"ids": list(ids)}, lambda rows: int(rows[0][0])))


def test_what_is_asked_meanwhile_is_one_statement_and_each_hears_of_its_own_row() -> None:
    ids, refused = [put() for _ in range(6)], put("succeeded")
    with (
        another() as holder,
        asked_at_once(holder, list(map(claim_of, (*ids, refused))), groups=Groups(at_once=1)) as asked,
    ):
        found = [future.result(PATIENCE) for future in asked]
    assert [claim and claim.id for claim in found] == [*ids, None]
    assert by_transaction(ids[1:]) == 1


def test_one_row_is_claimed_once_though_it_is_asked_for_twice_at_once() -> None:
    twice, others = put(), [put() for _ in range(3)]
    claiming = list(map(claim_of, (put(), twice, twice, *others)))
    with another() as holder, asked_at_once(holder, claiming, groups=Groups(at_once=1)) as asked:
        found = [future.result(PATIENCE) for future in asked]
    assert sorted(claim is None for claim in found[1:3]) == [False, True]
    assert all(found[3:])
    assert state(twice)["fence"] == 1


def test_nobody_waits_for_a_row_that_is_locked_but_who_asked_for_it() -> None:
    ahead, locked, others = put(), put(), [put() for _ in range(3)]
    with another() as caller:
        caller.execute("UPDATE tandem_execution SET cancel_requested_at = now() WHERE id = %s", [locked])
        with asked_at_once(caller, list(map(claim_of, (ahead, locked, *others))), groups=Groups(at_once=1)) as asked:
            assert all(future.result(PATIENCE) for future in asked[2:])
            until(waiting_for_locks(1), "its own thread waits for the row that is locked")
            caller.commit()
            claim = asked[1].result(PATIENCE)
    assert claim is not None
    assert claim.cancel_requested


def test_a_group_is_no_part_of_a_deadlock() -> None:
    """With locks that are waited for: the group has the one and waits for the other, whose holder wants the one."""
    one, other = put(), put()
    with another() as caller:
        caller.execute("UPDATE tandem_execution SET queue = 'x' WHERE id = %s", [other])
        with asked_at_once(caller, list(map(claim_of, (put(), one, other))), groups=Groups(at_once=1)) as asked:
            assert asked[1].result(PATIENCE) is not None
            caller.execute("UPDATE tandem_execution SET queue = 'x' WHERE id = %s", [one])
            caller.commit()
            assert asked[2].result(PATIENCE) is not None


def test_what_cannot_be_written_fails_alone() -> None:
    ids = [put("running", fence=1, is_leased=True) for _ in range(4)]
    ends = [
        attempts.finish(Lease(id=id_, fence=1, worker="w"), outcome="succeeded", result=result, error=None)
        for id_, result in zip(ids, ['"kept"', '"kept"', '"\\u0000"', '"kept"'], strict=True)
    ]
    with another() as holder, asked_at_once(holder, ends, groups=Groups(at_once=1)) as asked:
        with pytest.raises(psycopg.DataError):
            asked[2].result(PATIENCE)
        assert all(asked[number].result(PATIENCE) for number in (0, 1, 3))
    assert [state(id_)["phase"] for id_ in ids] == ["succeeded", "succeeded", "running", "succeeded"]


def test_a_connection_that_was_ended_costs_nobody_an_answer() -> None:
    groups = Groups(at_once=1)
    assert groups.execute(claim_of(put())) is not None
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE %(query)s AND pid <> pg_backend_pid()"
    assert ledger.execute(Statement("end", end, {"query": "%WITH free%"}, len)) == 1
    with another() as holder, asked_at_once(holder, [claim_of(put()) for _ in range(3)], groups=groups) as asked:
        assert all(future.result(PATIENCE) for future in asked)


def test_a_group_whose_connection_is_ended_in_the_middle_goes_one_by_one() -> None:
    groups, ids = Groups(at_once=1), [put() for _ in range(4)]
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE %(query)s AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(4) as threads, another() as holder:
        holder.execute("LOCK TABLE tandem_execution IN SHARE MODE")
        asked = [threads.submit(groups.execute, claim_of(id_)) for id_ in ids]
        until(waiting_for_locks(1), "one waits for the table")
        until(lambda: groups.waiting("claim") == 3, "all others wait for their turn")
        assert ledger.execute(Statement("end", end, {"query": "%WITH free%"}, len)) == 1
        until(waiting_for_locks(2), "the one by itself, and the others together")
        assert ledger.execute(Statement("end", end, {"query": "%WITH free%"}, len)) == 1
        until(waiting_for_locks(4), "each by itself")
        holder.rollback()
        assert all(future.result(PATIENCE) for future in asked)


@pytest.mark.parametrize("at_once", [4, 1], ids=["another takes its place", "there is no other"])
def test_a_connection_that_does_not_answer_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr("tandem.ledger.groups._PATIENCE_SECONDS", 0.1)
    groups, ids = Groups(at_once=at_once), [put() for _ in range(6)]
    waiting = """SELECT pid FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE %(query)s"""
    with ThreadPoolExecutor(len(ids)) as threads, another() as holder:
        holder.execute("LOCK TABLE tandem_execution IN SHARE MODE")
        asked = [threads.submit(groups.execute, claim_of(ids[0]))]
        until(waiting_for_locks(1), "the first waits for the table")
        (pid,) = ledger.execute(Statement("pids", waiting, {"query": "%WITH free%"}, lambda rows: rows[0]))
        os.kill(pid, signal.SIGSTOP)
        try:
            holder.rollback()
            asked += [threads.submit(groups.execute, claim_of(id_)) for id_ in ids[1:]]
            assert all(future.result(PATIENCE) for future in asked[1:])
            assert not asked[0].done()
        finally:
            os.kill(pid, signal.SIGCONT)
        assert asked[0].result(PATIENCE) is not None
    assert [state(id_)["fence"] for id_ in ids] == [1] * len(ids)


def test_a_forked_child_asks_for_none_of_its_parents_threads() -> None:
    groups, ids = Groups(at_once=1), [put() for _ in range(4)]
    with ThreadPoolExecutor(len(ids)) as threads, another() as holder:
        holder.execute("LOCK TABLE tandem_execution IN SHARE MODE")
        asked = [threads.submit(groups.execute, claim_of(id_)) for id_ in ids]
        until(lambda: groups.waiting("claim") == len(ids) - 1, "all others wait for their turn")
        child = os.fork()
        if child == 0:
            os._exit(groups.waiting("claim"))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        holder.rollback()
        assert all(future.result(PATIENCE) for future in asked)


def test_groups_beside_heartbeats_never_deadlock() -> None:
    """Writers of several rows at once, in any order, each of them 60 times."""
    ids = [put("running", fence=1, is_leased=True, engine="restate") for _ in range(24)]
    leases = [Lease(id=id_, fence=1, worker="w") for id_ in ids]
    groups = Groups()

    def renew(order: int) -> None:
        for _ in range(60):
            ledger.execute(
                claims.heartbeat(
                    worker=f"w{order}",
                    kind="service",
                    engine="restate",
                    queues=(),
                    concurrency=1,
                    stuck=0,
                    leases=leases[::order],
                    seconds=30.0,
                )
            )
        ledger.close()

    def claim(number: int) -> int:
        claimed = 0
        for turn in range(60):
            claiming = claims.claim_invocation(
                id=ids[(number * 7 + turn * (-1) ** number) % len(ids)],
                task="t",
                engine="restate",
                worker="w",
                lease=30.0,
                dispatch_number=1,
                invocation="i",
            )
            claimed += groups.execute(claiming) is not None
        ledger.close()
        return claimed

    with ThreadPoolExecutor(10) as threads:
        beats = [threads.submit(renew, order) for order in (1, -1)]
        claimed = sum(future.result(PATIENCE) for future in [threads.submit(claim, number) for number in range(8)])
        for beat in beats:
            beat.result(PATIENCE)
    assert claimed == 8 * 60
    assert sum(Execution.objects.values_list("fence", flat=True)) == len(ids) + claimed
