"""docs/writing-tasks.md: its five steps run on both engines, and give what the page says."""

import re
import sys
import types
from typing import Any

import pytest

from tandem.declarations import Task, TaskResult
from tandem.ledger.models import Execution, Step
from tests.integration.waiting import finished
from tests.work import writing

pytestmark = pytest.mark.usefixtures("workers")

SAID = re.compile(r"^# When it is over: (.+)$", re.MULTILINE)


def call(block: str, engine: str, mark: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a block of calls as it stands, its tasks pinned to an engine, and hold it to what it says."""
    shop = types.ModuleType("shop.tasks")
    for name, value in vars(writing).items():
        setattr(shop, name, value.using(engine=engine) if isinstance(value, Task) else value)
    monkeypatch.setitem(sys.modules, "shop", types.ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.tasks", shop)
    names: dict[str, Any] = {}
    # A key belongs to the first call with it, whatever its engine.
    exec(compile(block.replace("invoice-42", mark), str(writing.PAGE), "exec"), names)
    for result in [value for value in names.values() if isinstance(value, TaskResult)]:
        finished(result)
        assert result.engine == engine
    said = SAID.findall(block)
    assert said
    for words in said:
        assert eval(words, names), f"{words}, but: {names['result'].errors}"
    return names


def steps(result: TaskResult) -> list[tuple[str, str]]:
    return list(Step.objects.filter(execution_id=result.id).order_by("position").values_list("name", "kind"))


def test_the_page_has_four_blocks_of_calls_and_five_of_tasks() -> None:
    assert len(writing.CALLS) == 4
    assert len(writing.BLOCKS) == 9


def test_a_task_answers(engine: str, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert writing.invoice_text(42) == "Invoice for order 42"  # type: ignore[attr-defined]  # from the page
    result = call(writing.CALLS[0], engine, mark, monkeypatch)["result"]
    assert result.phase == "succeeded"


def test_a_busy_bank_is_asked_again_and_a_senseless_order_is_not(
    engine: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = call(writing.CALLS[1], engine, mark, monkeypatch)
    assert [Execution.objects.get(pk=names[name].id).attempts for name in ("result", "refused")] == [1, 1]
    assert "there is nothing to charge" in names["refused"].errors[-1].traceback
    assert "The bank is busy." in names["result"].errors[-1].traceback


def test_a_second_attempt_goes_on_behind_the_finished_step(
    engine: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = call(writing.CALLS[2], engine, mark, monkeypatch)["result"]
    number, sent = Step.objects.filter(execution_id=result.id).order_by("position")
    assert [number.name, sent.name] == ["number", "deliver"]
    assert number.fence < sent.fence
    assert result.return_value["number"] == number.result
    assert result.progress.message == "delivered"


def test_a_workflow_sleeps_waits_and_calls(engine: str, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = call(writing.CALLS[3], engine, mark, monkeypatch)["result"]
    assert [kind for _, kind in steps(result)] == ["call", "sleep", "call", "signal", "call"]
    children = Execution.objects.filter(parent=result.id)
    assert sorted(child.task.rpartition(".")[2] for child in children) == [
        "charge_card",
        "pack",
        "pack",
        "send_invoice",
    ]
    assert {child.engine for child in children} == {engine}
