"""Engines for users' unit tests: no server, no ledger; results live in this process."""

import threading
from collections.abc import Sequence
from uuid import UUID

from django.tasks.signals import task_enqueued

from tandem.configuration import Configuration
from tandem.engines.base import Reference, State
from tandem.ledger.waking import Waiter
from tandem.task import TaskResult

__all__ = ["MemoryEngine"]


class MemoryEngine:
    """What the stub and the immediate engine share: they take results instead of references, and keep them."""

    name = "memory"
    supports: frozenset[str] = frozenset()

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.results: list[TaskResult] = []
        self._lock = threading.Lock()

    def accept(self, result: TaskResult) -> TaskResult:
        """Keep an enqueued call's result, and run it where the engine does."""
        with self._lock:
            self.results.append(result)
        task_enqueued.send(type(result.task.get_backend()), task_result=result)
        self.run(result)
        return result

    def run(self, result: TaskResult) -> None:
        """What happens to a call once it is kept."""

    def result(self, id_: str) -> TaskResult | None:
        """The kept result of an id."""
        with self._lock:
            return next((result for result in self.results if result.id == id_), None)

    def clear(self) -> None:
        """Forget every result."""
        with self._lock:
            self.results.clear()

    def epoch(self) -> str | None:
        """There is no broker."""
        return None

    def submit(self, batch: Sequence[Reference]) -> str | None:
        """Nothing is sent: the backend hands over results, not references."""
        raise TypeError(f"The {self.name} engine takes no references: {[str(item.id) for item in batch]}.")

    def cancel(self, batch: Sequence[Reference]) -> None:
        """Nothing runs elsewhere."""

    def wake(self, waiting: Sequence[Waiter]) -> None:
        """Nothing waits elsewhere."""

    def inspect(self, batch: Sequence[Reference]) -> dict[UUID, State]:
        """Nothing runs elsewhere."""
        return {}

    def sweep(self, *, lease: float) -> int:
        """Nothing can be lost on the way."""
        return 0

    def problems(self) -> list[str]:
        """Nothing can be misconfigured."""
        return []

    def check(self) -> list[str]:
        """Nothing can be unreachable."""
        return []

    def close(self) -> None:
        """Nothing is open."""
