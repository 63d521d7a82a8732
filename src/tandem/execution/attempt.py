"""One attempt of a body, the same for both engines: what it holds, where its calls stand, and whether it is over.

Nothing here waits: an attempt makes the statements of its writes, and its context executes them.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tandem import values
from tandem.exceptions import AttemptOver, Cancelled, OrderChanged, Permanent, TimeLimitExceeded
from tandem.ledger.hot import attempts
from tandem.ledger.identity import derived_id
from tandem.ledger.rows import Claim, Lease, LeaseCheck, RecordedStep
from tandem.ledger.statement import Statement
from tandem.ledger.suspension import sleeps

__all__ = ["Attempt", "StepKey", "as_json", "duration_of"]

logger = logging.getLogger("tandem.context")

_PROGRESS_SECONDS = 0.3


def as_json(value: Any, *, what: str, limit: int) -> str:
    """Encode what a body answered as the ledger keeps it; `limit` is MAX_RESULT_BYTES.

    Raises `Permanent` naming `what` where that cannot be done: from the `TypeError` of Django's own rule for what is
    not JSON, or for what is too large, too deep or cannot be stored.
    """
    try:
        return values.encode(value, what=what, limit=limit)
    except values.InvalidValue as error:
        raise Permanent(
            f"{error} Return strings, numbers, lists and dictionaries; store what is large (MAX_RESULT_BYTES) elsewhere,"
            " and return where it is."
        ) from error.__cause__ or error


def duration_of(duration: float | timedelta, *, what: str) -> float:
    """Read what a body waits at most, in seconds or as a timedelta; raises `Permanent` naming `what`."""
    try:
        return values.seconds(duration, what=what)
    except values.InvalidValue as error:
        raise Permanent(str(error)) from error


def step_name(name: str) -> str:
    """Check a step's name, or a signal's that is waited for; raises `Permanent`."""
    if not isinstance(name, str):
        raise Permanent(f"A step's name must be a string of 1 to 200 characters, not {type(name).__name__}.")
    try:
        return values.name(name, what="A step's name", most=200)
    except values.InvalidValue as error:
        raise Permanent(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKey:
    """Where a context call stands in the body: the nth call in all, and the nth of its name."""

    name: str
    occurrence: int
    position: int

    @property
    def label(self) -> str:
        """The name for journals and people."""
        return self.name if self.occurrence == 0 else f"{self.name}#{self.occurrence}"


@dataclass(slots=True, kw_only=True)
class Attempt:
    """The mutable state of one attempt: what it holds, where its body is, and whether it is over.

    `over` is set by whoever learns it first (a statement's answer, the heartbeat, the engine) and makes each later
    context call raise `AttemptOver`. `rouse` is how whoever runs the body wakes it, from any thread.
    `overran`: the body was stopped at its time limit, and its end is to be recorded as that.
    """

    claim: Claim
    lease_seconds: float
    max_result_bytes: int
    recorded: dict[tuple[str, int], RecordedStep] = field(default_factory=dict)
    over: str | None = None
    cancel_requested: bool = False
    cancel_raised: bool = False
    deadline: float | None = None
    overran: bool = False
    rouse: Callable[[], object] = lambda: None
    _started: float = field(default_factory=time.monotonic)
    _occurrences: dict[str, int] = field(default_factory=dict)
    _positions: dict[int, RecordedStep] = field(default_factory=dict)
    _position: int = 0
    _progress: tuple[float, float | None, str] | None = None
    _progress_written: float = float("-inf")
    _progress_dropped: bool = False
    _thread: int | None = None

    def load(self, steps: tuple[RecordedStep, ...]) -> None:
        """Take what earlier attempts recorded."""
        self.recorded = {(step.name, step.occurrence): step for step in steps}
        self._positions = {step.position: step for step in steps}

    def begin(self, *, time_limit: float | None) -> None:
        """Say that the body begins now, on this thread: its calls are made here, and its clock starts."""
        self._thread = threading.get_ident()
        self.deadline = None if time_limit is None else time.monotonic() + time_limit

    @property
    def lease(self) -> Lease:
        """The attempt's name: no other way leads from memory or a statement to it."""
        return self.claim.lease

    def resume(self) -> Statement[LeaseCheck]:
        """The statement that takes the lease back, where a sleep or wait was given up."""
        return sleeps.resume(self.lease, seconds=self.lease_seconds)

    def limit_exceeded(self) -> TimeLimitExceeded:
        """What it fails with where it ran past its task's time limit."""
        return TimeLimitExceeded(f"{self.claim.task} ran longer than its time limit.")

    @property
    def age(self) -> float:
        """Seconds since the execution was enqueued."""
        before = (self.claim.last_attempted_at - self.claim.created_at).total_seconds()
        return before + time.monotonic() - self._started

    @property
    def stopped(self) -> bool:
        """Whether it is over, or was stopped at its time limit: its body may have left its thread busy."""
        return self.over is not None or self.overran

    def guard(self) -> None:
        """Raise `AttemptOver` or, once, `Cancelled`, where the body must stop."""
        self.refuse_over()
        if self.overran:
            raise AttemptOver("the time limit is over")
        if self.cancel_requested and not self.cancel_raised:
            self.cancel_raised = True
            raise Cancelled(f"{self.claim.task} {self.claim.id} was cancelled.")

    def refuse_over(self) -> None:
        """Raise `AttemptOver` where the attempt is over."""
        if self.over is not None:
            raise AttemptOver(self.over)

    def refuse_after_cancel(self) -> None:
        """As `guard`, and raise `Cancelled` again: a body that cleans up cannot wait, for nothing would wake it."""
        self.guard()
        if self.cancel_raised:
            raise Cancelled(f"{self.claim.task} {self.claim.id} was cancelled; it cannot wait any more.")

    def end(self, reason: str) -> AttemptOver:
        """Mark the attempt over, from its own body, and answer what to raise there."""
        self.over = self.over or reason
        return AttemptOver(self.over)

    def stop(self, reason: str) -> None:
        """Mark the attempt over, from any other thread, and rouse its body where it waits."""
        self.end(reason)
        self.rouse()

    def step_key(self, name: str) -> StepKey:
        """Where the next call named `name` stands; raises `OrderChanged` where another was recorded there."""
        name = step_name(name)
        if self._thread not in {None, threading.get_ident()}:
            raise Permanent(
                f"{self.claim.task} {self.claim.id} asks for step {name!r} on a thread of its own: a later attempt could"
                " not tell in which order. Make the context's calls on the body's thread, and use threads inside a step."
            )
        self.guard()
        occurrence = self._occurrences.get(name, 0)
        position = self._position
        recorded, there = self.recorded.get((name, occurrence)), self._positions.get(position)
        if there is not None and (there.name, there.occurrence) != (name, occurrence):
            raise OrderChanged(
                f"{self.claim.task} {self.claim.id} asks for step {name!r} at position {position + 1}, where an earlier"
                f" attempt recorded {there.name!r}: the code changed under it. Put the order back, then retry it."
            )
        if recorded is not None and recorded.position != position:
            raise OrderChanged(
                f"{self.claim.task} {self.claim.id} asks for step {name!r} at position {position + 1}, but an earlier"
                f" attempt recorded it at position {recorded.position + 1}: the code changed under it. Put the order"
                " back, then retry it."
            )
        self._occurrences[name] = occurrence + 1
        self._position = position + 1
        return StepKey(name=name, occurrence=occurrence, position=position)

    def remaining(self, key: StepKey, duration: float | timedelta) -> float:
        """Seconds a sleep still has: from its first start, whichever attempt made it."""
        seconds = duration_of(duration, what="sleep()'s duration")
        recorded = self.recorded.get((key.name, key.occurrence))
        if recorded is None or recorded.due_in is None:
            return seconds
        return max(0.0, recorded.due_in - (time.monotonic() - self._started))

    def checkpoint(self, key: StepKey, text: str, seconds: float) -> Statement[LeaseCheck]:
        """The statement that records a finished step."""
        return attempts.checkpoint(
            self.lease,
            name=key.name,
            occurrence=key.occurrence,
            position=key.position,
            result=text,
            seconds=seconds,
        )

    def suspend(self, key: StepKey, seconds: float) -> Statement[bool]:
        """The statement that gives up the lease for a sleep."""
        return sleeps.suspend(
            self.lease,
            name=key.name,
            occurrence=key.occurrence,
            position=key.position,
            seconds=seconds,
        )

    def apply(self, answer: LeaseCheck) -> None:
        """Take what a guarded write said of the lease and of cancelling."""
        self.cancel_requested = self.cancel_requested or answer.cancel_requested
        if not answer.held:
            raise self.end("the lease went to a newer attempt, or the execution is over")

    def progress_due(self, current: float, total: float | None, message: str) -> bool:
        """Keep the latest progress, and say whether to write it now: a few times a second, and always the first.

        What cannot be written is dropped, with a line in the log: a report is no reason to fail.
        """
        try:
            self._progress = (
                values.number(current, what="current"),
                None if total is None else values.number(total, what="total"),
                values.plain(str(message))[:255],
            )
        except Exception as error:  # noqa: BLE001  # its parts may be of any type, and raise anything
            if not self._progress_dropped:
                self._progress_dropped = True
                logger.warning("Progress of %s %s is dropped: %s", self.claim.task, self.claim.id, values.said(error))
            return False
        return time.monotonic() - self._progress_written >= _PROGRESS_SECONDS

    def progress_statement(self) -> Statement[LeaseCheck] | None:
        """The statement for progress not yet written, taken once."""
        if self._progress is None:
            return None
        current, total, message = self._progress
        self._progress, self._progress_written = None, time.monotonic()
        return attempts.progress(self.lease, current=current, total=total, message=message)

    def idempotency_key(self, step: str) -> str:
        """A key for outside systems: the same on every attempt and engine."""
        return str(derived_id("key", str(self.claim.id), step_name(step)))
