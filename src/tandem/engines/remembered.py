"""The statements of durable calls answered from memory, for one execution: what the ledger would say."""

import json
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from tandem.execution.attempt import Attempt, StepKey, as_json
from tandem.execution.drivers import LedgerAnswers
from tandem.ledger.rows import LeaseCheck, RecordedStep
from tandem.ledger.statement import Statement
from tandem.ledger.waiting import Child, ChildEnd, Children, Received

__all__ = ["Remembered"]

_HELD = LeaseCheck(held=True, written=True, cancel_requested=False)
_NOT_WRITTEN = replace(_HELD, written=False)


@dataclass(kw_only=True)
class Remembered(LedgerAnswers):
    """Keeps an execution's steps and signals. A sleep is over at once; a wait suspends until something comes."""

    signals: list[tuple[str, Any]] = field(default_factory=list)
    _steps: dict[tuple[str, int], RecordedStep] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[RecordedStep, ...]:
        """What was recorded, in the order the body asked for it."""
        return tuple(sorted(self._steps.values(), key=lambda step: step.position))

    def time_out(self) -> None:
        """Let the timeout of each open wait be over."""
        for key, step in self._steps.items():
            if step.kind == "waiting" and step.due_in is not None:
                self._steps[key] = replace(step, kind="timeout", result=None)

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
        """As `ask`."""
        return self.ask(attempt, statement)

    def perform_atomic(self, attempt: Attempt, key: StepKey, function: Callable[[], Any]) -> Any:
        """Run a step's function and record its result; whose transaction it is in is the caller's affair."""
        recorded = attempt.recorded.get((key.name, key.occurrence))
        if recorded is not None:
            return recorded.result
        text = as_json(function(), what=f"The result of step {key.name!r}", limit=attempt.max_result_bytes)
        attempt.apply(self.ask(attempt, attempt.checkpoint(key, text, 0.0)))
        return json.loads(text)

    def _write(self, given: dict[str, Any], kind: str, result: Any, due_in: float | None = None) -> LeaseCheck:
        key = (given["name"], given["occurrence"])
        if key in self._steps and self._steps[key].kind not in {"waiting", "calling"}:
            return _NOT_WRITTEN
        position = self._steps[key].position if key in self._steps else given["position"]
        self._steps[key] = RecordedStep(*key, position, kind, result, due_in)
        return _HELD

    def _recorded_steps(self, _: dict[str, Any]) -> tuple[RecordedStep, ...]:
        return self.steps

    def _checkpoint(self, given: dict[str, Any]) -> LeaseCheck:
        return self._write(given, "step", json.loads(given["result"]))

    def _progress(self, given: dict[str, Any]) -> LeaseCheck:
        self.keep_progress(given["current"], given["total"], given["message"])
        return _HELD

    def _suspend(self, _: dict[str, Any]) -> bool:
        return False

    def _resume(self, _: dict[str, Any]) -> LeaseCheck:
        return _HELD

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
            cancel_requested=False,
            kind=None if step is None else step.kind,
            payload=None if step is None else step.result,
            due_in=None if step is None else step.due_in,
        )

    def _open_wait(self, given: dict[str, Any]) -> LeaseCheck:
        return self._write(given, "waiting", None, given["seconds"])

    def _suspend_waiting(self, _: dict[str, Any]) -> bool:
        return True

    def _spawn(self, given: dict[str, Any]) -> LeaseCheck:
        written = self._write(given, "calling", {})
        self.run_children([Child(**child) for child in given["children"].obj])
        return written

    def _children(self, given: dict[str, Any]) -> Children:
        ends = {id_: self.end_of_child(id_) for id_ in given["ids"]}
        ended = {id_: end for id_, end in ends.items() if end is not None}
        return Children(held=True, wake_generation=0, cancel_requested=False, ended=ended)

    def _answer_call(self, given: dict[str, Any]) -> LeaseCheck:
        return self._write(given, "call", json.loads(given["result"]))
