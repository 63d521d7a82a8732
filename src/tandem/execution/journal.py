"""What an engine decides for a body: how a step's closure is run, and how it waits."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from tandem.execution.attempt import Attempt, StepKey
from tandem.execution.waiting import Hold

__all__ = ["AsyncJournal", "Journal"]


class Journal(Protocol):
    """What an engine does with a sync body's durable calls; one for each attempt."""

    def begin(self, attempt: Attempt) -> None:
        """Hear, where the body runs, whose calls these are: before its signals, and again once its clock runs."""
        ...

    def step(self, key: StepKey, action: Callable[[], Any]) -> Any:
        """Run `action` on the body's thread, or answer what an earlier attempt's journal has of it."""
        ...

    def sleep(self, attempt: Attempt, key: StepKey, seconds: float) -> None:
        """Wait `seconds` (0 or less: it is over), or suspend and raise `AttemptOver`."""
        ...

    def hold(self, attempt: Attempt, hold: Hold) -> None:
        """Suspend and raise `AttemptOver`; or return: the hold is over, something came, or a cancel was asked for."""
        ...

    def progressed(self, attempt: Attempt, current: float, total: float | None, message: str) -> None:
        """Publish progress that was written, where the engine has readers."""
        ...


class AsyncJournal(Protocol):
    """What an engine does with an async body's durable calls; one for each attempt."""

    def begin(self, attempt: Attempt) -> None:
        """As `Journal.begin`."""
        ...

    async def step(self, key: StepKey, action: Callable[[], Awaitable[Any]]) -> Any:
        """As `Journal.step`, awaited on the body's loop."""
        ...

    async def sleep(self, attempt: Attempt, key: StepKey, seconds: float) -> None:
        """As `Journal.sleep`, awaited."""
        ...

    async def hold(self, attempt: Attempt, hold: Hold) -> None:
        """As `Journal.hold`, awaited."""
        ...

    def progressed(self, attempt: Attempt, current: float, total: float | None, message: str) -> None:
        """As `Journal.progressed`; must not block the loop."""
        ...
