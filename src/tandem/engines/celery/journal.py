"""What Celery does with a body's durable calls: steps run at once, a sleep hands the worker back."""

from collections.abc import Awaitable, Callable
from typing import Any

from tandem.engines.celery.seats import Seat
from tandem.execution.asking import aask, ask
from tandem.execution.attempt import Attempt, StepKey
from tandem.execution.waiting import Hold

__all__ = ["AsyncCeleryJournal", "CeleryJournal"]


class _Journal:
    """The ledger is all of it: what is kept here is whose it is. `seat` is where a prefork parent reads it."""

    def __init__(self, seat: Seat | None = None) -> None:
        self.attempt: Attempt | None = None
        self._seat = seat

    def begin(self, attempt: Attempt) -> None:
        """Say whose body runs, and until when."""
        self.attempt = attempt
        if self._seat is not None:
            self._seat.hold(attempt.lease, attempt.deadline)

    def progressed(self, attempt: Attempt, current: float, total: float | None, message: str) -> None:
        """Nothing else publishes progress: pages read the ledger."""


class CeleryJournal(_Journal):
    """A sync body's journal."""

    def step(self, key: StepKey, action: Callable[[], Any]) -> Any:  # the ledger knows the key
        """Run the step on the body's thread."""
        return action()

    def sleep(self, attempt: Attempt, key: StepKey, seconds: float) -> None:
        """Give up the lease until the sleep is over, when the relay sends the execution again, and end the attempt.

        After a cancel it returns at once, and the context raises `Cancelled`.
        """
        if seconds <= 0:
            return
        if ask(attempt, attempt.suspend(key, seconds)):
            raise attempt.end(f"it sleeps for {seconds:.1f} s")
        attempt.apply(ask(attempt, attempt.resume()))

    def hold(self, attempt: Attempt, hold: Hold) -> None:
        """Give up the lease, and end the attempt; the relay sends the execution again when it can go on."""
        if not hold.over and ask(attempt, hold.statement(attempt)):
            raise attempt.end(f"it waits for {hold.key.label}")


class AsyncCeleryJournal(_Journal):
    """An async body's journal."""

    async def step(self, key: StepKey, action: Callable[[], Awaitable[Any]]) -> Any:  # as above
        """Run the step on the body's loop."""
        return await action()

    async def sleep(self, attempt: Attempt, key: StepKey, seconds: float) -> None:
        """As `CeleryJournal.sleep`."""
        if seconds <= 0:
            return
        if await aask(attempt, attempt.suspend(key, seconds)):
            raise attempt.end(f"it sleeps for {seconds:.1f} s")
        attempt.apply(await aask(attempt, attempt.resume()))

    async def hold(self, attempt: Attempt, hold: Hold) -> None:
        """As `CeleryJournal.hold`."""
        if not hold.over and await aask(attempt, hold.statement(attempt)):
            raise attempt.end(f"it waits for {hold.key.label}")
