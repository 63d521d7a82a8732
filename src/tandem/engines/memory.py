"""Engines for users' unit tests: no server, no ledger; results live in this process."""

import threading
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any, Literal

from django.db import connections, transaction
from django.tasks.signals import task_enqueued, task_finished
from django.utils import timezone

from tandem.configuration import Configuration
from tandem.declarations import TaskResult
from tandem.engines.base import Engine, Reference
from tandem.ledger import connection as ledger
from tandem.phases import ENDED, STATUS_OF_PHASE

__all__ = ["RETRIED", "MemoryEngine", "SentSignal", "copied", "put"]

RETRIED = ("failed", "dead", "cancelled", "parked", "held")


@dataclass(frozen=True, slots=True, kw_only=True)
class SentSignal:
    """A signal as it was sent, its payload as JSON has it."""

    id: str
    name: str
    payload: Any
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A call's result; `stands` says whether the transaction it was enqueued in was not rolled back."""

    result: TaskResult
    key: str | None
    stands: Callable[[], bool]


class MemoryEngine(Engine):
    """What the stub and the immediate engine share: they take results instead of references, and keep them.

    A result goes with the transaction that it was enqueued in: one that was rolled back, as a `TestCase`'s is at its
    end, leaves none.
    """

    name = "memory"

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.signals: list[SentSignal] = []
        self._kept: list[_Kept] = []
        self._lock = threading.RLock()

    @property
    def results(self) -> list[TaskResult]:
        """What was enqueued and not rolled back, in order."""
        with self._lock:
            self._kept = [kept for kept in self._kept if kept.stands()]
            return [kept.result for kept in self._kept]

    def accept(self, result: TaskResult, *, key: str | None = None) -> TaskResult:
        """Keep an enqueued call's result, and run it where the engine does; a taken key answers the first result."""
        with self._lock:
            standing = {(kept.result.task.func, kept.key): kept.result for kept in self._kept if kept.stands()}
            if key is not None and (taken := standing.get((result.task.func, key))) is not None:
                return copied(taken)
            self._kept.append(_Kept(result=result, key=key, stands=_standing()))
        task_enqueued.send(type(result.task.get_backend()), task_result=result)
        self.run(result)
        return copied(result)

    def run(self, result: TaskResult) -> None:
        """What happens to a call once it is kept, or retried."""

    def result(self, id_: str) -> TaskResult | None:
        """The kept result of an id."""
        return next((result for result in self.results if result.id == id_), None)

    def cancel_result(self, result: TaskResult, *, by: str | None) -> Literal["cancelled", "requested", "finished"]:
        """Cancel what no body runs: all that is not over."""
        if result.phase in ENDED:
            return "finished"
        put(result, phase="cancelled", finished_at=timezone.now(), cancelled_by=by)
        task_finished.send(type(result.task.get_backend()), task_result=result)
        return "cancelled"

    def retry_result(self, result: TaskResult, *, engine: str | None) -> None:
        """Queue again, with nothing of the earlier attempts but their errors; raises `ValueError` where it cannot."""
        if result.phase not in RETRIED:
            raise ValueError(
                f"{result.task.module_path} {result.id} is {result.phase}: only {', '.join(RETRIED[:-1])} or"
                f" {RETRIED[-1]} executions can be retried."
            )
        put(result, phase="queued", finished_at=None, cancelled_by=None, worker_ids=[], _return_value=None)
        if engine is not None:
            put(result, engine=engine, reason="retry(engine=)")
        self.run(result)

    def signal_result(self, result: TaskResult, name: str, payload: Any, *, by: str | None) -> None:
        """Keep a signal, already checked, in `signals`; raises `ValueError` where the execution is over."""
        if result.phase in ENDED:
            raise ValueError(
                f"{result.task.module_path} {result.id} is {result.phase}: no signal can reach it any more."
            )
        self.signals.append(SentSignal(id=result.id, name=name, payload=payload, by=by))

    def clear(self) -> None:
        """Forget every result and signal."""
        with self._lock:
            self._kept.clear()
            self.signals.clear()

    def submit(self, batch: Sequence[Reference]) -> str | None:
        """Nothing is sent: the backend hands over results, not references."""
        raise TypeError(f"The {self.name} engine takes no references: {[str(item.id) for item in batch]}.")


def put(result: TaskResult, **values: Any) -> None:
    """Write into a kept result; its status follows its phase."""
    if "phase" in values:
        values["status"] = STATUS_OF_PHASE[values["phase"]]
    for name, value in values.items():
        object.__setattr__(result, name, value)


def _standing() -> Callable[[], bool]:
    """Whether the transaction that is open now was not rolled back, to be asked later.

    Django tells of a commit alone; of what was rolled back, savepoints included, it drops the callbacks.
    """
    connection = connections[ledger.LEDGER_DATABASE]
    if not connection.in_atomic_block:
        return lambda: True
    committed = threading.Event()
    transaction.on_commit(committed.set, using=ledger.LEDGER_DATABASE)
    return lambda: committed.is_set() or any(entry[1] == committed.set for entry in connection.run_on_commit)


def copied(result: TaskResult) -> TaskResult:
    """A caller's own view of a result, as it is now: what happens to it later is there after `refresh`."""
    copy: TaskResult = object.__new__(type(result))
    for item in fields(result):
        value = getattr(result, item.name)
        object.__setattr__(copy, item.name, deepcopy(value) if isinstance(value, list | dict) else value)
    return copy
