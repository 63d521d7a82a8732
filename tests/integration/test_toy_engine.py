"""A third engine, from its class in the settings to the end of every kind of body: nothing else knows its name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from django.tasks import task_backends
from django.test import override_settings

from tandem import ConfigurationError, TandemBackend
from tandem.checks import live_problems
from tandem.engines.base import Engine, Reference
from tandem.exporter import Exporter
from tandem.ledger.models import Execution, PendingCancellation
from tandem.probes.health import listen
from tandem.relay import Relay
from tests.integration.waiting import finished, in_phase, until
from tests.toy_engine.engine import ToyEngine, ToyWorker
from tests.work import tasks
from tests.work.effects import recorded

TOY = {"ENGINE": "tests.toy_engine.engine.ToyEngine", "THREADS": 3}


def settings(toy: Any) -> Any:
    options = {"ENGINES": {"toy": toy}, "LEASE_SECONDS": 2.0}
    return override_settings(TASKS={"default": {"BACKEND": "tandem.TandemBackend", "QUEUES": [], "OPTIONS": options}})


def backend_of() -> TandemBackend:
    found = task_backends["default"]
    assert isinstance(found, TandemBackend)
    return found


@pytest.fixture
def toy(database: None, effects: None) -> Iterator[ToyEngine]:
    with patch.dict("os.environ", {"TANDEM_ROUTES": ""}), settings(TOY):
        backend = backend_of()
        engine = backend.engines["toy"]
        assert isinstance(engine, ToyEngine)
        assert engine.options.threads == 3
        worker, relay = ToyWorker(engine), Relay(configuration=backend.configuration, engines=backend.engines)
        worker.start()
        relay.start()
        yield engine
        relay.stop()
        worker.stop()


def names(mark: str) -> list[str]:
    return [line[2] for line in recorded(mark)]


@pytest.mark.parametrize("task", [tasks.steps, tasks.steps_async])
def test_a_retry_goes_on_from_the_last_finished_step(toy: ToyEngine, mark: str, task: Any) -> None:
    result = finished(task.enqueue(mark, 2))
    assert (result.phase, result.engine, result.attempts) == ("succeeded", "toy", 2), result.errors
    assert names(mark) == ["step-1", "step-2", "step-3"]


@pytest.mark.parametrize("task", [tasks.sleeper, tasks.sleeper_async])
def test_a_sleeper_goes_on(toy: ToyEngine, mark: str, task: Any) -> None:
    assert finished(task.enqueue(mark, 0.3)).return_value == "after"
    assert names(mark) == ["before", "after"]


@pytest.mark.parametrize("task", [tasks.approval, tasks.approval_async])
def test_a_waiter_hears_its_signals(toy: ToyEngine, mark: str, task: Any) -> None:
    result = in_phase(task.enqueue(mark), "waiting")
    result.signal("approved", "first")
    result.signal("approved", "second")
    assert finished(result).return_value == ["first", "second"]


@pytest.mark.parametrize("task", [tasks.family, tasks.family_async])
def test_children_run_on_their_parents_engine(toy: ToyEngine, mark: str, task: Any) -> None:
    result = finished(task.enqueue(mark, 3))
    assert result.return_value == {"first": 2, "rest": [2, 3, 4]}
    assert set(Execution.objects.filter(parent=result.id).values_list("engine", flat=True)) == {"toy"}


@pytest.mark.parametrize("task", [tasks.cancellable, tasks.cancellable_async])
def test_a_running_body_hears_of_its_cancel(toy: ToyEngine, mark: str, task: Any) -> None:
    result = task.enqueue(mark)
    until(lambda: "started" in names(mark), "it did not start")
    assert result.cancel() == "requested"
    assert finished(result).phase == "cancelled"


def test_a_sleeper_is_cancelled_where_it_is_and_the_engine_is_told(toy: ToyEngine, mark: str) -> None:
    result = in_phase(tasks.sleeper.enqueue(mark, 3600), "sleeping")
    with patch.object(toy, "cancel") as told:
        assert result.cancel() == "cancelled"
        until(lambda: told.called, "the engine is not told")
        until(lambda: not PendingCancellation.objects.filter(execution_id=result.id).exists(), "it is told again")
    assert [str(dropped.id) for call in told.call_args_list for dropped in call.args[0]] == [result.id]


def test_what_another_life_of_the_process_held_is_sent_again(toy: ToyEngine, mark: str) -> None:
    # As one leaves it that ended: sent, with an epoch that is nobody's any more.
    with patch.object(ToyEngine, "submit", return_value=toy.epoch()):
        result = tasks.steps.enqueue(mark)
    Execution.objects.filter(pk=result.id).update(broker_epoch="of-before")
    assert finished(result).phase == "succeeded"


def test_the_autoscaler_and_check_know_it(toy: ToyEngine) -> None:
    exporter = Exporter(backend_of().engines, interval=0.05)
    exporter.start()
    with listen("127.0.0.1:0", exporter.routes(), option="--bind") as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/scaling/toy"
        until(lambda: httpx.get(url, params={"queues": "default"}).status_code == 200, "it is not counted")
        assert httpx.get(url).text == "Name the queues: ?queues=a,b\n"
    exporter.stop()
    assert not [text for text in live_problems(backend_of()) if "toy" in text]


@pytest.mark.parametrize(
    ("toy", "message"),
    [
        ({"ENGINE": "tests.toy_engine.engine.ToyEngin"}, "cannot be imported"),
        ({"ENGINE": "tests.toy_engine.engine.ToyWorker"}, "is no subclass of tandem.engines.base.Engine"),
        ({"ENGINE": 7}, "must be the dotted path of a class"),
        ({**TOY, "TREADS": 1}, r"has an unknown key 'TREADS'.*did you mean 'THREADS'"),
        ({**TOY, "THREADS": "many"}, r"\['toy'\]\['THREADS'\] is 'many', but must be a int"),
        ({"THREADS": 2}, "which does not exist.*one of your own says"),
    ],
)
def test_what_is_wrong_with_it_is_said_by_name(toy: Any, message: str) -> None:
    with settings(toy), pytest.raises(ConfigurationError, match=message):
        _ = backend_of().engines


class Wrong(ToyEngine):
    """Each mistake that somebody who wrote one made."""

    @dataclass(frozen=True)
    class Options:
        threads: int

    supports = frozenset({"defered", "steps"})
    due_phases = ("queued", "retry")
    process = ("a-kind-that-is-too-long", "manage.py wrong")


class Unfinished(Engine):
    """Says how to do nothing."""

    Options = dict
    supports = ["defer"]  # type: ignore[assignment]  # noqa: RUF012  # as somebody wrote it


@pytest.mark.parametrize(
    ("kind", "messages"),
    [
        (
            "Wrong",
            [
                "Options has no default for threads",
                "supports has 'defered', which there is not; did you mean 'defer'?",
                "due_phases has 'retry'",
                "process names the kind 'a-kind-that-is-too-long', but it has at most 20 characters",
            ],
        ),
        (
            "Unfinished",
            ["it lacks submit()", "Options is no dataclass", "supports is ['defer'], but must be a frozenset"],
        ),
    ],
)
def test_what_is_wrong_with_a_class_is_said_at_once(kind: str, messages: list[str]) -> None:
    with settings({"ENGINE": f"{__name__}.{kind}"}), pytest.raises(ConfigurationError) as caught:
        _ = backend_of().engines
    assert [message for message in messages if message not in str(caught.value)] == []


def test_the_listing_of_the_document_runs_bodies(database: None, effects: None, mark: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
    (listing,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def run(reference)" in code]
    sent: list[Reference] = []
    with patch.dict("os.environ", {"TANDEM_ROUTES": ""}), settings(TOY):
        with patch.object(ToyEngine, "submit", side_effect=sent.extend):
            results = [tasks.steps.enqueue(mark), tasks.steps_async.enqueue(mark), tasks.noop.enqueue()]
        program: dict[str, Any] = {}
        exec(compile(listing, "docs/engines.md", "exec"), program)
        program["heartbeat"].start()
        outcomes = [program["run"](reference) for reference in sent]
        program["end"]()
    assert [outcome.kind for outcome in outcomes] == ["succeeded"] * 3
    assert {Execution.objects.get(pk=result.id).phase for result in results} == {"succeeded"}
