"""What an engine is to the backend and the relay."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tandem.configuration import Configuration
from tandem.exceptions import nearest
from tandem.ledger import connection as ledger
from tandem.ledger.operating.load import Load, load
from tandem.ledger.rows import Reference
from tandem.ledger.suspension.wakes import Waiter

__all__ = ["CAPABILITIES", "Engine", "Reference"]

CAPABILITIES: Final = frozenset(
    {"defer", "steps", "sleep", "workflow", "external", "hard_time_limit", "priority", "queues"}
)
"""Everything a task may require: by its options, by a call's, or named in `@task(requires=[...])`."""


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """The options of an engine that has none."""


class Engine(ABC):
    """Gets references to where they run. The defaults are those of an engine that holds nothing between two calls.

    Every method may be called from any thread, before and after a fork. None raises for a broker that is down but
    with `BrokerUnavailable`, and within its configured timeout.

    One that is not built in is named in the settings by its class, and made with the backend's configuration, its name
    there and its `Options`, a frozen dataclass of which each field has a default.

    `due_phases` are those in which the relay sends a row once it is due: what the engine does not see to by itself.
    One that `resumes` takes up by itself what a process left, so that no relay takes an expired lease from it.
    One that `holds_waiting` keeps something for what waits, and has it go on in `wake`; for others the relay sends the
    row again.
    `push_size` is how many references a caller of `enqueue_many` pushes before it looks at the time: past two seconds
    the relay pushes the rest.
    `process` is what runs its bodies, as `tandem_worker` has it, and the command that starts one; None: nothing does.
    """

    name: str
    configuration: Configuration
    Options: type = NoOptions
    supports: frozenset[str] = frozenset()
    due_phases: tuple[str, ...] = ("queued", "deferred", "retrying", "sleeping")
    resumes: bool = False
    holds_waiting: bool = False
    push_size: int = 1_000
    process: tuple[str, str] | None = None

    def __init__(self, configuration: Configuration, *, name: str = "", options: Any = None) -> None:
        self.configuration = configuration
        self.name = name or self.name
        self.options = options

    def epoch(self) -> str | None:
        """The broker's life as this process last saw it; None where it has none, or was never seen."""
        return None

    @abstractmethod
    def submit(self, batch: Sequence[Reference]) -> str | None:
        """Send a batch, and answer the epoch that the round trip itself saw.

        Raises `BrokerUnavailable` where nothing, or not all of it, may have arrived; to send again is harmless.
        """

    def cancel(self, batch: Sequence[Reference]) -> None:  # noqa: B027  # the default: it holds nothing
        """Drop executions that were cancelled or parked, where the engine holds them."""

    def wake(self, waiting: Sequence[Waiter]) -> None:  # noqa: B027  # the default: it holds nothing
        """Have executions go on that the ledger says can, where the engine holds them while they wait."""

    def find_lost(self, *, lease: float) -> int:
        """Mark due every row that should be on its way and is not, and answer how many; the relay sends them."""
        return 0

    def load(self) -> Mapping[str, Load]:
        """Count the work of each pool, for the autoscaler: by queue, unless the engine knows better.

        Raises what says that it cannot be counted now; the last count is then answered.
        """
        return ledger.execute(load(engine=self.name))

    def pool(self, query: Mapping[str, str]) -> Sequence[str]:
        """Which keys of `load` a question of the autoscaler's names; raises `ValueError` that says what it must name."""
        queues = [name.strip() for name in query.get("queues", "").split(",") if name.strip()]
        if not queues:
            raise ValueError("Name the queues: ?queues=a,b")
        for name in queues:
            if (known := self.configuration.queues) and name not in known:
                raise ValueError(f"There is no queue {name!r}{nearest(name, known)} Queues: {', '.join(known)}.")
        return queues

    def place(self, task: str) -> str:
        """Name where a task of that name runs, as the engine's own tools show it; empty where they show the task."""
        return ""

    def problems(self) -> list[str]:
        """Say what is wrong with the configuration or the tasks' names, without touching a server."""
        return []

    def check(self) -> list[str]:
        """Say in plain words what is misconfigured or unreachable, and what to do; an empty list is well."""
        return []

    def close(self) -> None:  # noqa: B027  # the default: it holds nothing
        """Close connections; the next call opens others."""
