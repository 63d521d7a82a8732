"""Restate's side of durable calls: a step is a run of the invocation's journal, a wait is what its handler waits for."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from tandem.engines.restate.journal import Held, Journal
from tandem.engines.restate.tracker import ProgressPublisher
from tandem.execution.attempt import Attempt, StepKey
from tandem.execution.durable import Answered, Awaited, Durable, DurableCall, Suspension

__all__ = ["RestateDurable"]

_SUSPENDED: Final = "the invocation was suspended, aborted or disconnected; Restate drives it on"


class RestateDurable(Durable):
    """Hands each call to the journal, on the loop that serves the invocation."""

    def __init__(self, *, journal: Journal, publisher: ProgressPublisher, loop: asyncio.AbstractEventLoop) -> None:
        self.journal = journal
        self._publisher = publisher
        self._loop = loop
        self._stopped = False

    def take(self, attempt: Attempt) -> None:
        """Take the attempt whose calls come here; one whose invocation ended meanwhile is over."""
        super().take(attempt)
        if self._stopped:
            attempt.end(_SUSPENDED)

    def stop(self) -> None:
        """End the attempt, whose invocation ended without it, and rouse its body."""
        self._stopped = True
        if self.attempt is not None:
            self.attempt.stop(_SUSPENDED)

    def begin(self, attempt: Attempt, key: StepKey) -> DurableCall[Answered | None]:
        """Open a run of the journal, or answer from it; raises `Cancelled`, once, for a cancel that came through it."""
        answered: Answered | None = yield from self._on_loop(
            attempt, partial(self.journal.begin, key.position, key.label)
        )
        self._guard(attempt)
        return answered

    def complete(self, attempt: Attempt, key: StepKey, value: Any) -> DurableCall[None]:
        """Close the run with its result; raises as `begin`."""
        yield from self._on_loop(attempt, partial(self.journal.complete, key.position, value))
        self._guard(attempt)

    def fail(self, key: StepKey) -> None:
        """Leave the run open: a retry of the invocation runs it again, unless the body goes on to another call."""
        self.journal.fail(key.position)

    def suspend(self, attempt: Attempt, suspension: Suspension) -> DurableCall[None]:
        """Give up the lease and end the body; it is run again when something came, or the wait gives up."""
        seconds, statement = suspension.seconds, suspension.statement
        # A sleep is in the ledger first, from where its end counts; a wait needs the journal's address for what wakes it.
        gives_up = statement is not None and not suspension.wakeable and (yield statement(None))
        hold = partial(self.journal.hold, suspension.key.position, seconds, wakeable=suspension.wakeable)
        held: Held = yield from self._on_loop(attempt, hold)
        if statement is not None and suspension.wakeable:
            gives_up = yield statement(held.awakeable)
        if gives_up:
            self.journal.suspend(held, seconds)
            raise attempt.end(f"it waits at {suspension.key.label}")

    def publish(self, attempt: Attempt, current: float, total: float | None, message: str) -> None:
        """Publish progress to the tracker, in the background."""
        self._publisher.put(str(attempt.claim.id), {"current": current, "total": total, "message": message})

    def _on_loop(self, attempt: Attempt, make: Callable[[], Coroutine[Any, Any, Any]]) -> DurableCall[Any]:
        self._refuse_over(attempt)
        answer = yield Awaited(make, self._loop)
        self._refuse_over(attempt)
        return answer

    def _refuse_over(self, attempt: Attempt) -> None:
        if self.journal.over is not None:
            raise attempt.end(_SUSPENDED)

    def _guard(self, attempt: Attempt) -> None:
        if self.journal.cancelled:
            attempt.cancel_requested = True
            attempt.guard()
