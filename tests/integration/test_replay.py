"""Workflows replayed after a crash at every boundary of their calls: the same results and the same steps, on both engines.

A body is data: a sequence of calls that one task makes. It runs once as it is and once for each boundary at which its
first attempt ends, by an error or by the death of its process.
"""

import os
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tandem.declarations import TaskResult
from tandem.ledger.models import Execution, Signal, Step
from tests.integration.waiting import finished
from tests.work.effects import recorded
from tests.work.replay import CALLS, TABLE, replay

pytestmark = pytest.mark.usefixtures("workers", "rows")

EXAMPLES = os.environ.get("TANDEM_TEST_EXAMPLES")
ENGINES = ("celery", "restate")
BODIES = st.lists(st.sampled_from(CALLS), min_size=1, max_size=5)
# An example takes a second or more, so a failing one is shown as it is.
SETTINGS = settings(
    max_examples=int(EXAMPLES or 6),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def rows(database: None) -> Iterator[None]:
    """The table that atomic steps write to."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (mark text, number int)")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {TABLE}")


def start(mark: str, body: Sequence[str], engine: str, crash: int | None, parties: int = 0) -> TaskResult:
    """Enqueue a body with the signals that it will wait for."""
    with transaction.atomic():
        result = replay.using(engine=engine).enqueue(mark, body, crash, parties)
        for number in range(body.count("wait")):
            result.signal("signal", f"signal-{number}")
    return result


def answers(body: Sequence[str]) -> list[Any]:
    """What each call answers, whichever attempt made it: its number, the signal of that number of waits, a child's sum."""
    answered: list[Any] = list(range(len(body)))
    for number, call in enumerate(body):
        if call == "wait":
            answered[number] = f"signal-{body[:number].count('wait')}"
        elif call not in {"step", "atomic"}:
            answered[number] = number + 1 if call == "call" else None
    return answered


def check(result: TaskResult, mark: str, body: Sequence[str], *, crashed: bool) -> str:
    """The result, the effects and the count of steps are those of one run; answers the steps as they were recorded."""
    finished(result)
    row = Execution.objects.get(pk=result.id)
    assert (row.phase, row.result) == ("succeeded", answers(body)), row.errors
    assert row.attempts == int(crashed)
    names = {"wait": "signal", "call": "add"}
    calls = Counter(names.get(call, call) for call in body if call != "sleep")
    steps = list(Step.objects.filter(execution_id=result.id).order_by("position"))
    assert Counter(step.name for step in steps) == calls
    places = [str(number) for number, call in enumerate(body) if call == "step"]
    assert [line[2] for line in recorded(mark)] == places, "a step ran again after it was recorded"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT number FROM {TABLE} WHERE mark = %s ORDER BY number", [mark])
        assert [found for (found,) in cursor] == [number for number, call in enumerate(body) if call == "atomic"]
    assert Execution.objects.filter(parent=result.id).count() == body.count("call")
    assert not Signal.objects.filter(execution_id=result.id, consumed_at__isnull=True).exists()
    return repr([(step.name, step.occurrence, step.position, step.result) for step in steps])


@SETTINGS
@given(body=BODIES)
def test_a_crash_at_any_boundary_changes_nothing(body: list[str]) -> None:
    crashes = [None, *range(len(body) + 1)]
    started = {
        (engine, crash, mark := uuid.uuid4().hex): start(mark, body, engine, crash)
        for engine in ENGINES
        for crash in crashes
    }
    steps = {check(result, mark, body, crashed=crash is not None) for (_, crash, mark), result in started.items()}
    assert len(steps) == 1


@pytest.mark.parametrize(("engine", "parties"), [("celery", 1), ("restate", 4)])
def test_a_killed_process_changes_nothing(engine: str, parties: int) -> None:
    """On Celery each body has a process of its own; on Restate one death ends the bodies at all boundaries at once."""
    body = ["step", "wait", "call"]
    meeting = uuid.uuid4().hex
    started = {
        (mark := f"{meeting}/{crash}"): start(mark, body, engine, crash, parties) for crash in range(len(body) + 1)
    }
    for mark, result in started.items():
        check(result, mark, body, crashed=True)
        assert Execution.objects.get(pk=result.id).lost_leases == 1
