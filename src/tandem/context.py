"""What a body may call: `step`, `progress`, `sleep`, and who it is.

The semantics live here, once, for both engines: where a step stands, what an earlier attempt recorded, what is
written, and that a body whose attempt is over stops at its next call. An engine's `Journal` decides only how a
step's closure is run and how a sleep is waited out.
"""

import inspect
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, cast, overload

from django.tasks import TaskContext
from django.utils.json import normalize_json

from tandem.exceptions import AttemptOver, Cancelled, OrderChanged, Permanent
from tandem.ledger import attempt as statements
from tandem.ledger import connection as ledger
from tandem.ledger.identity import derived_id
from tandem.ledger.rows import Checkpoint, Claim, RecordedStep
from tandem.ledger.statements import Statement

if TYPE_CHECKING:
    # Generic in the stubs alone.
    _ContextBase = TaskContext[..., Any]
else:
    _ContextBase = TaskContext

__all__ = ["AsyncContext", "AsyncJournal", "Attempt", "Context", "Journal", "Place", "as_json"]

_PROGRESS_SECONDS = 0.3
_SLEEP = "sleep"


def as_json(value: Any, *, what: str, limit: int) -> str:
    """Encode `value` as the ledger keeps it.

    Raises `Permanent` naming `what` where that cannot be done: from the `TypeError` of Django's own rule for what is
    not JSON, or for what is too large or cannot be stored.
    """
    try:
        text = json.dumps(normalize_json(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Permanent(f"{what} is not JSON ({error}); return strings, numbers, lists and dictionaries.") from error
    if len(text) > limit:
        raise Permanent(
            f"{what} is {len(text):,} bytes of JSON, above the limit of {limit:,} (MAX_RESULT_BYTES). Store it"
            " elsewhere and return where it is."
        )
    if "\\u0000" in text:
        raise Permanent(f"{what} holds a NUL character, which PostgreSQL's JSON cannot keep; remove or encode it.")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a context call stands in the body: the nth call in all, and the nth of its name."""

    name: str
    occurrence: int
    position: int

    @property
    def label(self) -> str:
        """The name for journals and people."""
        return self.name if self.occurrence == 0 else f"{self.name}#{self.occurrence}"


class Journal(Protocol):
    """What an engine does with a sync body's durable calls."""

    def step(self, place: Place, action: Callable[[], Any]) -> Any:
        """Run `action` on the body's thread, or answer what an earlier attempt's journal has of it."""
        ...

    def sleep(self, attempt: "Attempt", place: Place, seconds: float) -> None:
        """Wait `seconds` (0 or less: it is over), or suspend and raise `AttemptOver`."""
        ...

    def progressed(self, attempt: "Attempt", current: float, total: float | None, message: str) -> None:
        """Hear of progress that was written, to mirror it where the engine has readers."""
        ...


class AsyncJournal(Protocol):
    """What an engine does with an async body's durable calls."""

    async def step(self, place: Place, action: Callable[[], Awaitable[Any]]) -> Any:
        """As `Journal.step`, awaited on the body's loop."""
        ...

    async def sleep(self, attempt: "Attempt", place: Place, seconds: float) -> None:
        """As `Journal.sleep`, awaited."""
        ...

    def progressed(self, attempt: "Attempt", current: float, total: float | None, message: str) -> None:
        """As `Journal.progressed`; must not block the loop."""
        ...


@dataclass(slots=True, kw_only=True)
class Attempt:
    """The mutable state of one attempt: what it holds, where its body is, and whether it is over.

    `over` is set by whoever learns it first (a statement's answer, the heartbeat, the engine) and makes each later
    context call raise `AttemptOver`.
    """

    claim: Claim
    worker: str
    lease: float
    max_result_bytes: int
    recorded: dict[tuple[str, int], RecordedStep] = field(default_factory=dict)
    over: str | None = None
    cancel_requested: bool = False
    cancel_raised: bool = False
    deadline: float | None = None
    _started: float = field(default_factory=time.monotonic)
    _occurrences: dict[str, int] = field(default_factory=dict)
    _positions: dict[int, RecordedStep] = field(default_factory=dict)
    _position: int = 0
    _progress: tuple[float, float | None, str] | None = None
    _progress_written: float = float("-inf")

    def load(self, steps: tuple[RecordedStep, ...]) -> None:
        """Take what earlier attempts recorded."""
        self.recorded = {(step.name, step.occurrence): step for step in steps}
        self._positions = {step.position: step for step in steps}

    def limit(self, seconds: float | None) -> None:
        """Set the deadline of this attempt, on this process's monotonic clock."""
        self.deadline = None if seconds is None else self._started + seconds

    def guard(self) -> None:
        """Raise `AttemptOver` or, once, `Cancelled`, where the body must stop."""
        if self.over is not None:
            raise AttemptOver(self.over)
        if self.cancel_requested and not self.cancel_raised:
            self.cancel_raised = True
            raise Cancelled(f"{self.claim.task} {self.claim.id} was cancelled.")

    def end(self, reason: str) -> AttemptOver:
        """Mark the attempt over, and answer what to raise."""
        self.over = self.over or reason
        return AttemptOver(self.over)

    def place(self, name: str) -> Place:
        """Where the next call named `name` stands; raises `OrderChanged` where another was recorded there."""
        if not 0 < len(str(name)) <= 200:  # noqa: PLR2004  # the column's length
            raise Permanent(f"A step's name must be a string of 1 to 200 characters, not {name!r}.")
        self.guard()
        occurrence = self._occurrences.get(name, 0)
        position = self._position
        recorded, there = self.recorded.get((name, occurrence)), self._positions.get(position)
        if there is not None and (there.name, there.occurrence) != (name, occurrence):
            raise OrderChanged(
                f"{self.claim.task} {self.claim.id} asks for step {name!r} at place {position + 1}, where an earlier"
                f" attempt recorded {there.name!r}: the code changed under it. Put the order back, then retry it."
            )
        if recorded is not None and recorded.position != position:
            raise OrderChanged(
                f"{self.claim.task} {self.claim.id} asks for step {name!r} at place {position + 1}, but an earlier"
                f" attempt recorded it at place {recorded.position + 1}: the code changed under it. Put the order"
                " back, then retry it."
            )
        self._occurrences[name] = occurrence + 1
        self._position = position + 1
        return Place(name=name, occurrence=occurrence, position=position)

    def remaining(self, place: Place, duration: float | timedelta) -> float:
        """Seconds a sleep still has: from its first start, whichever attempt made it."""
        seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
        if not 0 <= seconds <= 366 * 86_400:
            raise Permanent(f"sleep({duration!r}) must be from 0 seconds to 366 days.")
        recorded = self.recorded.get((place.name, place.occurrence))
        return seconds if recorded is None else max(0.0, recorded.due_in - (time.monotonic() - self._started))

    def checkpoint(self, place: Place, text: str, seconds: float) -> Statement[Checkpoint]:
        """The statement that records a finished step."""
        return statements.checkpoint(
            self.claim,
            name=place.name,
            occurrence=place.occurrence,
            position=place.position,
            result=text,
            seconds=seconds,
            worker=self.worker,
        )

    def suspend(self, place: Place, seconds: float) -> Statement[bool]:
        """The statement that gives up the lease for a sleep."""
        return statements.suspend(
            self.claim,
            name=place.name,
            occurrence=place.occurrence,
            position=place.position,
            seconds=seconds,
            worker=self.worker,
        )

    def learn(self, answer: Checkpoint) -> None:
        """Take what a guarded write said of the lease and of cancelling."""
        self.cancel_requested = self.cancel_requested or answer.cancel_requested
        if not answer.held:
            raise self.end("the lease went to a newer attempt, or the execution is over")

    def progress_due(self, current: float, total: float | None, message: str, *, force: bool) -> bool:
        """Keep the latest progress, and say whether to write it now: a few times a second, and always the first."""
        self._progress = (current, total, message)
        return force or time.monotonic() - self._progress_written >= _PROGRESS_SECONDS

    def progress_statement(self) -> Statement[Checkpoint] | None:
        """The statement for progress not yet written, taken once."""
        if self._progress is None:
            return None
        current, total, message = self._progress
        self._progress, self._progress_written = None, time.monotonic()
        return statements.progress(self.claim, current=current, total=total, message=message)

    def idempotency_key(self, step: str) -> str:
        """A key for outside systems: the same on every attempt and engine."""
        return str(derived_id("key", str(self.claim.id), step))


@dataclass(frozen=True, slots=True, kw_only=True)
class _BaseContext(_ContextBase):  # type: ignore[misc]  # frozen in Django, not so in the stubs
    _attempt: Attempt

    @property
    def attempt(self) -> int:
        """Failures + lost leases + 1: a suspension or a replay counts nothing."""
        return self._attempt.claim.attempts + 1

    @property
    def execution_id(self) -> str:
        """The result's id."""
        return str(self._attempt.claim.id)

    @property
    def engine(self) -> str:
        """The engine this attempt runs on."""
        return self._attempt.claim.engine

    @property
    def owner(self) -> str | None:
        """Whose execution this is, as `.using(owner=)` said."""
        return self._attempt.claim.owner

    def idempotency_key(self, step: str) -> str:
        """Return a key for outside systems, the same on every attempt and engine (side effects are at least once)."""
        return self._attempt.idempotency_key(step)


def _progress_arguments(current: float, total: float | None, message: str) -> tuple[float, float | None, str]:
    return float(current), None if total is None else float(total), str(message).replace("\0", "")[:255]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(_BaseContext):  # type: ignore[misc]  # as above
    """The context of a sync body; Django's, with durable calls. Every call may raise `Cancelled` or `AttemptOver`."""

    _journal: Journal

    def step[**P, T](self, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` once, record its JSON result, and answer that result on every later attempt.

        The result is what JSON makes of it (tuples become lists). It may run more than once before it is recorded,
        never after. What it raises comes out here and is not recorded. A result that is not JSON is `Permanent`.
        """
        if inspect.iscoroutinefunction(function):
            raise Permanent(f"Step {name!r} is an async function; a sync body's steps are plain functions.")
        place = self._attempt.place(name)
        result = self._journal.step(place, lambda: self._perform(place, lambda: function(*args, **kwargs)))
        return cast("T", result)

    def _perform(self, place: Place, action: Callable[[], Any]) -> Any:
        attempt = self._attempt
        recorded = attempt.recorded.get((place.name, place.occurrence))
        if recorded is not None:
            return recorded.result
        started = time.monotonic()
        value = action()
        text = as_json(value, what=f"The result of step {place.name!r}", limit=attempt.max_result_bytes)
        if attempt.over is not None:
            raise AttemptOver(attempt.over)
        answer = ledger.execute(attempt.checkpoint(place, text, time.monotonic() - started))
        attempt.learn(answer)
        if answer.written:
            return json.loads(text)
        attempt.load(ledger.execute(statements.recorded_steps(attempt.claim.id)))
        return attempt.recorded[place.name, place.occurrence].result

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Say how far the body is. Written a few times a second at most, at once the first time and at the end."""
        attempt = self._attempt
        attempt.guard()
        if attempt.progress_due(*_progress_arguments(current, total, message), force=False):
            self._flush()

    def _flush(self) -> None:
        attempt = self._attempt
        pending = attempt.progress_statement()
        if pending is not None:
            attempt.learn(ledger.execute(pending))
            values = pending.parameters
            self._journal.progressed(attempt, values["current"], values["total"], values["message"])

    def sleep(self, duration: float | timedelta) -> None:
        """Suspend for `duration` (seconds or a timedelta, up to 366 days), holding no worker.

        The body is replayed from the top when it is over; finished steps answer from the ledger. Refused inside
        `transaction.atomic()`, which would roll back.
        """
        _refuse_in_transaction("sleep")
        place = self._attempt.place(_SLEEP)
        self._flush()
        self._journal.sleep(self._attempt, place, self._attempt.remaining(place, duration))
        self._attempt.guard()


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncContext(_BaseContext):  # type: ignore[misc]  # as above
    """The context of an async body: the same calls, awaited. `idempotency_key` and the properties are plain."""

    _journal: AsyncJournal

    @overload
    async def step[**P, T](
        self, name: str, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def step[**P, T](self, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def step(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As `Context.step`; `function` may be async or plain (a plain one blocks the loop: keep it short)."""
        place = self._attempt.place(name)
        return await self._journal.step(place, lambda: self._perform(place, lambda: function(*args, **kwargs)))

    async def _perform(self, place: Place, action: Callable[[], Any]) -> Any:
        attempt = self._attempt
        recorded = attempt.recorded.get((place.name, place.occurrence))
        if recorded is not None:
            return recorded.result
        started = time.monotonic()
        value = action()
        if inspect.isawaitable(value):
            value = await value
        text = as_json(value, what=f"The result of step {place.name!r}", limit=attempt.max_result_bytes)
        if attempt.over is not None:
            raise AttemptOver(attempt.over)
        answer = await ledger.aexecute(attempt.checkpoint(place, text, time.monotonic() - started))
        attempt.learn(answer)
        if answer.written:
            return json.loads(text)
        attempt.load(await ledger.aexecute(statements.recorded_steps(attempt.claim.id)))
        return attempt.recorded[place.name, place.occurrence].result

    async def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """As `Context.progress`."""
        attempt = self._attempt
        attempt.guard()
        if attempt.progress_due(*_progress_arguments(current, total, message), force=False):
            await self._flush()

    async def _flush(self) -> None:
        attempt = self._attempt
        pending = attempt.progress_statement()
        if pending is not None:
            attempt.learn(await ledger.aexecute(pending))
            values = pending.parameters
            self._journal.progressed(attempt, values["current"], values["total"], values["message"])

    async def sleep(self, duration: float | timedelta) -> None:
        """As `Context.sleep`."""
        place = self._attempt.place(_SLEEP)
        await self._flush()
        await self._journal.sleep(self._attempt, place, self._attempt.remaining(place, duration))
        self._attempt.guard()


def _refuse_in_transaction(call: str) -> None:
    from django.db import connections  # noqa: PLC0415  # only a body that suspends asks

    for alias in connections:
        if connections[alias].in_atomic_block:
            raise Permanent(
                f"context.{call}() inside transaction.atomic() (database {alias!r}): suspending would roll the"
                " transaction back. Leave the block first."
            )
