"""No body finds what another left behind, or waits for another's threads; its clock is its own."""

from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from tandem.embedded.stack import Stack
from tests.integration.waiting import all_finished, finished, until
from tests.work import isolation, tasks

pytestmark = pytest.mark.usefixtures("workers")

MANY = 6

_STILL_ASKED = """
SELECT pid FROM pg_stat_activity
WHERE query LIKE '%%AS isolation%%' AND state = 'active' AND pid <> pg_backend_pid()
"""


def run_many(task: Any, *args: Any) -> list[Any]:
    """Run as many bodies of a task as reach every child and thread that serves it, and answer what they returned."""
    results = [task.enqueue(*args) for _ in range(MANY)]
    all_finished(results)
    assert [result.phase for result in results] == ["succeeded"] * MANY, [result.errors for result in results]
    return [result.return_value for result in results]


@pytest.mark.parametrize(
    ("leave", "find"),
    [(isolation.leave_behind, isolation.find), (isolation.leave_behind_async, isolation.find_async)],
    ids=["sync", "async"],
)
def test_each_body_begins_in_a_clean_state(engine: str, leave: Any, find: Any) -> None:
    run_many(leave.using(engine=engine))
    clean = {
        "language": "en-us",
        "time zone": timezone.get_default_timezone_name(),
        "precision": 28,
        "variable": "nothing",
    }
    found = [state for states in run_many(find.using(engine=engine)) for state in states]
    assert all(state == clean for state in found), found


@pytest.mark.parametrize(
    ("leave", "write", "each"),
    [
        (isolation.leave_transaction, isolation.write, 1),
        (isolation.leave_atomic, isolation.write, 1),
        (isolation.leave_transaction_async, isolation.write_async, 2),
        (isolation.leave_atomic_async, isolation.write_async, 2),
    ],
    ids=["autocommit-sync", "atomic-sync", "autocommit-async", "atomic-async"],
)
def test_what_a_body_writes_is_committed_whatever_another_left(
    engine: str, mark: str, leave: Any, write: Any, each: int
) -> None:
    left = [leave.using(engine=engine).enqueue(f"{mark}-left-{number}") for number in range(MANY)]
    all_finished(left)
    written = [write.using(engine=engine).enqueue(f"{mark}-{number}") for number in range(MANY)]
    all_finished(written)
    names = sorted(Group.objects.filter(name__startswith=mark).values_list("name", flat=True))
    assert len(names) == MANY * each
    assert not [name for name in names if "left" in name], "what was never committed is not"


@pytest.mark.parametrize(
    ("engine", "task"),
    [
        ("celery", isolation.too_long_in_database),
        ("celery", isolation.too_long_in_database_async),
        ("restate", isolation.too_long_in_database_async),
    ],
    ids=["celery-sync", "celery-async", "restate-async"],
)
def test_a_time_limit_inside_a_query_leaves_no_connection_busy(workers: Stack, engine: str, task: Any) -> None:
    late = [task.using(engine=engine).enqueue(2.0) for _ in range(2)]
    all_finished(late)
    assert [result.phase for result in late] == ["failed"] * 2
    run_many(
        (tasks.ask_database if task is isolation.too_long_in_database else isolation.find_async).using(engine=engine)
    )
    url = f"postgresql://tandem@127.0.0.1:{workers.ports.postgres}/tandem"
    with psycopg.connect(url, autocommit=True) as operator:
        until(lambda: not operator.execute(_STILL_ASKED).fetchall(), "no statement runs on")


def test_async_bodies_do_not_wait_for_each_others_threads(mark: str) -> None:
    parties, each = 3, 4
    task = isolation.meet_in_threads.using(engine="restate")
    results = [task.enqueue(mark, parties, each) for _ in range(parties)]
    all_finished(results)
    assert [result.return_value for result in results] == [parties * (each + 1)] * parties


@pytest.mark.parametrize("task", [isolation.heard_slowly, isolation.heard_slowly_async], ids=["sync", "async"])
def test_the_clock_of_a_body_starts_with_it(engine: str, task: Any) -> None:
    result = finished(task.using(engine=engine).enqueue())
    assert (result.phase, result.attempts) == ("succeeded", 1), result.errors
    assert result.return_value == "ran"


def test_an_async_body_calls_a_child_on_an_engine_of_its_choice(engine: str) -> None:
    other = {"celery": "restate", "restate": "celery"}[engine]
    result = finished(isolation.call_elsewhere_async.using(engine=engine).enqueue(other))
    assert result.return_value == [2, 3, 6], result.errors
