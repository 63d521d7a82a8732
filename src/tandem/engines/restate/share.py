"""Which of the services one process serves: those that it takes, or all but those that others take."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tandem.declarations import Task
from tandem.engines.restate.targets import service_of
from tandem.exceptions import nearest

__all__ = ["Share"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Services by their names without the release's prefix: those in `takes` or, where that is empty, all but `others`.

    Who takes the rest serves the release's TaskTracker too, and the tasks that have no handler of their own.
    """

    takes: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    @property
    def is_rest(self) -> bool:
        """Whether it is what others leave."""
        return not self.takes

    def has(self, task: Task) -> bool:
        """Whether a task's service is in it."""
        service = service_of(task)
        return service not in self.others if self.is_rest else service in self.takes

    def problems(self, tasks: Mapping[str, Task]) -> Iterable[str]:
        """Say which names no task is served by: a misspelt one would leave its tasks to the rest, or to nobody."""
        known = sorted({service_of(task) for task in tasks.values()})
        for name in sorted(self.takes | self.others):
            if name not in known:
                yield (
                    f"No task of this code belongs to a Restate service {name!r}{nearest(name, known)} Services:"
                    f" {', '.join(known)}."
                )
