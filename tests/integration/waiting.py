"""Waiting for a condition, bounded: the bound is for a broken system, never a measure."""

import time
from collections.abc import Callable, Collection

from tandem.declarations import TaskResult

PATIENCE = 60.0


def until[T](
    condition: Callable[[], T], what: str | Callable[[], str], *, patience: float = PATIENCE, every: float = 0.02
) -> T:
    """Ask again `every` so many seconds until `condition` answers something true; fail with `what` when patience is over."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Waited {patience:g} s in vain: {what() if callable(what) else what}")
        time.sleep(every)
    return found


def finished(result: TaskResult, *, patience: float = PATIENCE) -> TaskResult:
    """Wait until an execution is over."""

    def over() -> bool:
        result.refresh()
        return result.is_finished

    until(over, f"{result.task.name} {result.id} did not finish", patience=patience)
    return result


def in_phase(result: TaskResult, *phases: str, patience: float = PATIENCE) -> TaskResult:
    """Wait until an execution is in one of some phases."""

    def there() -> bool:
        result.refresh()
        return result.phase in phases

    until(there, f"{result.task.name} {result.id} did not become {' or '.join(phases)}", patience=patience)
    return result


def all_finished(results: Collection[TaskResult], *, patience: float = PATIENCE) -> None:
    """Wait until many executions are over."""
    for result in results:
        finished(result, patience=patience)
