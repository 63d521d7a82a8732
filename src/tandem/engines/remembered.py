"""The statements of durable calls answered from memory, for one execution: what the ledger would say."""

import json
from abc import abstractmethod
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connections, transaction

from tandem.execution.attempt import Attempt, StepKey, as_json
from tandem.execution.drivers import LedgerAnswers
from tandem.ledger import connection as ledger
from tandem.ledger.rows import LeaseCheck, RecordedStep
from tandem.ledger.statement import Statement
from tandem.ledger.suspension.families import Child, ChildEnd, Children
from tandem.ledger.suspension.waits import Received

__all__ = ["Remembered"]


@dataclass(kw_only=True)
class Remembered(LedgerAnswers):
    """Keeps an execution's steps and signals. A sleep is over at once; a wait suspends until something comes."""

    signals: list[tuple[str, Any]] = field(default_factory=list)
    cancel_requested: bool = False
    _steps: dict[tuple[str, int], RecordedStep] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[RecordedStep, ...]:
        """What was recorded, in the order the body asked for it."""
        return tuple(deepcopy(sorted(self._steps.values(), key=lambda step: step.position)))

    def time_out(self) -> None:
        """Let the timeout of the open wait be over, if it has one."""
        step = self._newest("waiting")
        if step is not None and step.due_in is not None:
            self._steps[step.name, step.occurrence] = replace(step, kind="timeout", result=None)

    def reopen(self) -> None:
        """Have a retry wait once more for what the last attempt ended at: a timeout, or children that failed."""
        last = max(self._steps.values(), key=lambda step: step.position, default=None)
        if last is None:
            return
        failed = last.kind == "call" and any(outcome != "succeeded" for outcome, *_ in last.result)
        if last.kind == "timeout":
            del self._steps[last.name, last.occurrence]
        elif failed:
            self._steps[last.name, last.occurrence] = replace(last, kind="calling", result={})

    @property
    def ready(self) -> bool:
        """Whether what the body waits for, at its newest open step, is there."""
        step = self._newest("waiting", "calling")
        if step is None:
            return True
        if step.kind == "waiting":
            return any(name == step.result["signal"] for name, _ in self.signals)
        return all(self.end_of_child(UUID(id_)) for id_ in step.result.get("children", ()))

    def _newest(self, *kinds: str) -> RecordedStep | None:
        found = [step for step in self._steps.values() if step.kind in kinds]
        return max(found, key=lambda step: step.position, default=None)

    @abstractmethod
    def keep_progress(self, current: float, total: float | None, message: str) -> None:
        """Show progress where it is read."""

    @abstractmethod
    def run_children(self, children: list[Child]) -> None:
        """Run children, each once."""

    @abstractmethod
    def end_of_child(self, id_: UUID) -> ChildEnd | None:
        """How a child ended; None where it has not."""

    def ask[T](self, attempt: Attempt, statement: Statement[T]) -> Any:
        """Answer what PostgreSQL would of a statement, by its name."""
        return getattr(self, f"_{statement.name}")(dict(statement.parameters))

    async def aask[T](self, attempt: Attempt, statement: Statement[T]) -> Any:
        """As `ask`, off the loop: children are run in it."""
        return await sync_to_async(self.ask)(attempt, statement)

    def perform_atomic(self, attempt: Attempt, key: StepKey, function: Callable[[], Any]) -> Any:
        """Run a step's function and record its result, in a transaction within the one that a test has open."""
        if connections[ledger.LEDGER_DATABASE].in_atomic_block:
            with transaction.atomic(using=ledger.LEDGER_DATABASE):
                value = function()
        else:
            value = function()
        text = as_json(value, what=f"The result of step {key.name!r}", limit=attempt.max_result_bytes)
        attempt.apply(self.ask(attempt, attempt.checkpoint(key, text, 0.0)))
        return json.loads(text)

    def _write(self, given: dict[str, Any], kind: str, result: Any, due_in: float | None = None) -> LeaseCheck:
        key = (given["name"], given["occurrence"])
        if key in self._steps and self._steps[key].kind not in {"waiting", "calling"}:
            return self._checked(written=False)
        position = self._steps[key].position if key in self._steps else given["position"]
        self._steps[key] = RecordedStep(*key, position, kind, result, due_in)
        return self._checked()

    def _checked(self, *, written: bool = True) -> LeaseCheck:
        return LeaseCheck(held=True, written=written, cancel_requested=self.cancel_requested)

    def _recorded_steps(self, _: dict[str, Any]) -> tuple[RecordedStep, ...]:
        return self.steps

    def _checkpoint(self, given: dict[str, Any]) -> LeaseCheck:
        return self._write(given, "step", json.loads(given["result"]))

    def _progress(self, given: dict[str, Any]) -> LeaseCheck:
        self.keep_progress(given["current"], given["total"], given["message"])
        return self._checked()

    def _suspend(self, _: dict[str, Any]) -> bool:
        return False

    def _resume(self, _: dict[str, Any]) -> LeaseCheck:
        return self._checked()

    def _receive(self, given: dict[str, Any]) -> Received:
        step = self._steps.get((given["name"], given["occurrence"]))
        if step is None or step.kind == "waiting":
            number = next((at for at, (name, _) in enumerate(self.signals) if name == given["signal"]), None)
            if number is not None:
                kind = "signal" if step is None else "wait"
                self._write(given, kind, self.signals.pop(number)[1])
                step = self._steps[given["name"], given["occurrence"]]
        return Received(
            held=True,
            wake_generation=0,
            cancel_requested=self.cancel_requested,
            kind=None if step is None else step.kind,
            payload=None if step is None or step.kind == "waiting" else deepcopy(step.result),
            due_in=None if step is None else step.due_in,
        )

    def _open_wait(self, given: dict[str, Any]) -> LeaseCheck:
        return self._write(given, "waiting", given["signal"].obj, given["seconds"])

    def _suspend_waiting(self, given: dict[str, Any]) -> bool:
        if self.cancel_requested:
            return False
        key = (given["name"], given["occurrence"])
        self._steps[key] = replace(self._steps[key], result={**self._steps[key].result, **given["known"].obj})
        return True

    def _spawn(self, given: dict[str, Any]) -> LeaseCheck:
        written = self._write(given, "calling", {})
        self.run_children([Child(**child) for child in given["children"].obj])
        return written

    def _children(self, given: dict[str, Any]) -> Children:
        ends = {id_: self.end_of_child(id_) for id_ in given["ids"]}
        ended = {id_: end for id_, end in ends.items() if end is not None}
        return Children(held=True, wake_generation=0, cancel_requested=self.cancel_requested, ended=ended)

    def _answer_call(self, given: dict[str, Any]) -> LeaseCheck:
        return self._write(given, "call", json.loads(given["result"]))
