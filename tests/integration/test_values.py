"""Whatever a body or a caller comes up with: an attempt ends at once, with a reason; a caller is refused by name."""

import json
import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tandem import ConfigurationError, RouteError
from tandem.declarations import TaskResult
from tandem.engines.celery.durable import CeleryDurable
from tandem.execution.runner import Runner
from tandem.ledger import connection as ledger
from tandem.ledger.hot import claims
from tandem.ledger.models import Execution, Progress, Signal
from tandem.values import InvalidValue, encode, plain
from tests.any_value import anything
from tests.integration.waiting import finished, until
from tests.work import tasks
from tests.work.values import PLACES, Deep, Raises, ask_again_after, misuse, misuse_async, packed

# The fixtures start servers once; what an example writes has ids of its own.
SETTINGS: Final = settings(
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)

ODD: Final = (
    "caf\udce9.csv",
    "a\0b",
    float("nan"),
    10**400,
    Deep(2_000),
    Deep(20_000),
    object,
    Raises(ValueError("\ud800")),
    {"\ud800": {1, 2}},
    timedelta.max,
)
SETTLED: Final = ("succeeded", "failed", "sleeping", "waiting")

type Uses = list[tuple[str, Any]]


@pytest.mark.usefixtures("workers")
@settings(SETTINGS, max_examples=2)
@example([(place, value) for place in PLACES for value in ODD])
@given(st.lists(st.tuples(st.sampled_from(sorted(PLACES)), anything()), min_size=20, max_size=40))
def test_a_body_ends_at_once_whatever_it_asks_for(engine: str, uses: Uses) -> None:
    calls: list[Any] = [((place, packed(value)), {}) for place, value in uses]
    results = [
        result
        for task, part in ((misuse, calls[::2]), (misuse_async, calls[1::2]))
        for result in task.using(engine=engine).enqueue_many(part)
    ]
    rows = Execution.objects.filter(id__in=[result.id for result in results])
    until(lambda: not rows.exclude(phase__in=SETTLED).exists(), "every attempt ended", patience=180)
    for row in rows:
        # A loaded machine may lose a lease; "dead" is what a body became whose end could not be written.
        assert row.attempts - row.lost_leases == len(row.errors) == int(row.phase == "failed"), row.arguments["args"][0]
    for result in results:
        result.cancel()
    assert not Progress.objects.filter(execution__in=rows, current="NaN").exists()


@pytest.mark.usefixtures("workers")
def test_a_failure_is_recorded_in_plain_words(engine: str) -> None:
    def end(place: str, value: Any) -> str:
        result = finished(misuse.using(engine=engine).enqueue(place, packed(value)))
        assert (result.phase, len(result.errors)) == ("failed", 1)
        return str(result.errors[0].traceback).splitlines()[-1]

    assert end("raise", "caf\udce9.csv") == "ValueError: caf\\udce9.csv"
    assert "is half of a character" in end("return", "caf\udce9.csv")
    assert "nested more than 200 levels deep" in end("step", Deep(201))
    assert "The delay of Retryable('the bank is busy', after=) is 'soon'" in end("after", "soon")
    assert "sleep()'s duration is nan" in end("sleep", float("nan"))


@pytest.mark.usefixtures("workers")
def test_a_delay_may_be_a_timedelta_and_a_wrong_one_leaves_the_backoff(engine: str) -> None:
    delayed = ask_again_after.using(engine=engine).enqueue(packed(timedelta(milliseconds=10)))
    wrong = ask_again_after.using(engine=engine).enqueue(packed("soon"))
    assert [finished(result).phase for result in (delayed, wrong)] == ["dead", "dead"]
    assert ["bank is busy" in error.traceback for error in delayed.errors] == [True, True]
    assert ["InvalidValue" in error.traceback for error in wrong.errors] == [True, True]


def runner() -> Runner:
    return Runner(lease_seconds=30.0, max_result_bytes=1_000_000, max_lost_leases=2)


@pytest.fixture
def refusing(database: None) -> Iterator[None]:
    """A PostgreSQL that refuses every end with a result or an error of the body's own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION work_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'no' USING ERRCODE = 'untranslatable_character'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER work_refuse BEFORE UPDATE ON tandem_execution FOR EACH ROW"
            " WHEN (NEW.result::text LIKE '%%unwelcome%%' OR NEW.errors::text LIKE '%%unwelcome%%')"
            " EXECUTE FUNCTION work_refuse()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION work_refuse CASCADE")


@pytest.mark.parametrize("place", ["return", "raise", "step"])
def test_what_postgresql_refuses_is_written_once_in_plainer_words(refusing: None, place: str) -> None:
    row = misuse.using(engine="celery", run_after=FAR).enqueue(place, packed("unwelcome"))
    Execution.objects.filter(id=row.id).update(phase="queued")
    claim = claims.claim(id=UUID(row.id), engine="celery", worker="values", lease=30.0)
    runner().run(claim, CeleryDurable())
    row.refresh()
    assert row.phase == "failed"
    assert "PostgreSQL cannot keep how this attempt ended (UntranslatableCharacter)" in row.errors[-1].traceback
    ledger.close()


# --- callers -----------------------------------------------------------------------------------------------------

FAR: Final = datetime(2999, 1, 1, tzinfo=UTC)
REFUSED: Final = (InvalidTask, ConfigurationError, RouteError, InvalidValue)


def deferred(**options: Any) -> TaskResult:
    """An execution that no worker sees."""
    return tasks.noop.using(run_after=FAR, **options).enqueue()


def _deferred_with(option: str, value: Any) -> TaskResult:
    return deferred(**{option: value})


CALLS: Final[dict[str, Callable[[Any], Any]]] = {
    "argument": lambda value: tasks.noop.using(run_after=FAR).enqueue(value),
    "named argument": lambda value: tasks.noop.using(run_after=FAR).enqueue(name=value),
    "many": lambda value: tasks.noop.using(run_after=FAR).enqueue_many([((), {}), ((value,), {})]),
    "many's arguments": lambda value: tasks.noop.using(run_after=FAR).enqueue_many([((), {}), (value, {})]),
    "many's named arguments": lambda value: tasks.noop.using(run_after=FAR).enqueue_many([((), {}), ((), value)]),
    **{
        option: partial(_deferred_with, option)
        for option in ("idempotency_key", "owner", "queue_name", "engine", "priority")
    },
}
SIGNALS: Final[dict[str, Callable[[TaskResult, Any], Any]]] = {
    "name": lambda result, value: result.signal(value),
    "payload": lambda result, value: result.signal("name", value),
    "by": lambda result, value: result.signal("name", by=value),
    "cancel by": lambda result, value: result.cancel(by=value),
}


def refused(call: Callable[..., Any], *arguments: Any) -> bool:
    """Make a call; any error but a refusal in plain text comes out."""
    try:
        call(*arguments)
    except REFUSED as error:
        return str(error) == plain(str(error)) or pytest.fail("The refusal is no plain text.")
    return False


@pytest.mark.usefixtures("database")
@settings(SETTINGS, max_examples=30)
@example(Deep(2_000))
@given(anything())
def test_a_call_is_written_or_refused_by_name(value: Any) -> None:
    value = pickle.loads(pickle.dumps(value))
    for call in CALLS.values():
        before = Execution.objects.count()
        if refused(call, value):
            assert Execution.objects.count() == before
    result = deferred()
    for send in SIGNALS.values():
        before = Signal.objects.count()
        if refused(send, result, value):
            assert Signal.objects.count() == before


@pytest.mark.usefixtures("database")
@settings(SETTINGS, max_examples=100)
@given(anything())
def test_what_is_kept_is_what_postgresql_takes_and_gives_back(value: Any) -> None:
    try:
        text = encode(pickle.loads(pickle.dumps(value)), what="It", limit=1_000_000)
    except InvalidValue:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text, jsonb_build_array(%s::jsonb)", [text, text])
        (read, _) = cursor.fetchone()
    assert json.loads(read, parse_int=float) == json.loads(text, parse_int=float)


@pytest.mark.usefixtures("database")
def test_ids_are_uuids_and_names_what_a_primary_key_is() -> None:
    key, backend = uuid4(), tasks.noop.get_backend()
    result = deferred(idempotency_key=key, owner=42)
    assert result.owner == "42"
    assert deferred(idempotency_key=str(key)).id == result.id
    id_ = UUID(result.id)
    assert tasks.noop.get_result(id_).id == backend.get_result(id_).id == result.id
    backend.signal(id_, "name", by=42)
    assert Signal.objects.get(execution=id_).sent_by == "42"
    assert backend.cancel(id_, by=key) == "cancelled"
    assert backend.get_result(id_).cancelled_by == str(key)
    backend.retry(id_)
    assert Execution.objects.get(id=id_).cancelled_by is None
    nobody: Any
    for nobody in (5, "no id", None):
        with pytest.raises(TaskResultDoesNotExist):
            backend.get_result(nobody)
        with pytest.raises(TaskResultDoesNotExist):
            backend.cancel(nobody)
