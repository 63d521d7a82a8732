"""What a body may call: `step`, `progress`, `sleep`, and who it is.

The semantics live here and in `tandem.attempt`, once, for both engines: where a step stands, what an earlier attempt
recorded, what is written, and that a body whose attempt is over stops at its next call. An engine's `Journal` decides
only how a step's closure is run and how a sleep is waited out.
"""

import inspect
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, cast, overload

from django.tasks import TaskContext

from tandem.attempt import Attempt, Place, as_json
from tandem.exceptions import AttemptOver, Permanent
from tandem.ledger import attempt as statements
from tandem.ledger import connection as ledger

if TYPE_CHECKING:
    # Generic in the stubs alone.
    _ContextBase = TaskContext[..., Any]
else:
    _ContextBase = TaskContext

__all__ = ["AsyncContext", "AsyncJournal", "Context", "Journal"]

_SLEEP = "sleep"


class Journal(Protocol):
    """What an engine does with a sync body's durable calls."""

    def step(self, place: Place, action: Callable[[], Any]) -> Any:
        """Run `action` on the body's thread, or answer what an earlier attempt's journal has of it."""
        ...

    def sleep(self, attempt: Attempt, place: Place, seconds: float) -> None:
        """Wait `seconds` (0 or less: it is over), or suspend and raise `AttemptOver`."""
        ...

    def progressed(self, attempt: Attempt, current: float, total: float | None, message: str) -> None:
        """Hear of progress that was written, to mirror it where the engine has readers."""
        ...


class AsyncJournal(Protocol):
    """What an engine does with an async body's durable calls."""

    async def step(self, place: Place, action: Callable[[], Awaitable[Any]]) -> Any:
        """As `Journal.step`, awaited on the body's loop."""
        ...

    async def sleep(self, attempt: Attempt, place: Place, seconds: float) -> None:
        """As `Journal.sleep`, awaited."""
        ...

    def progressed(self, attempt: Attempt, current: float, total: float | None, message: str) -> None:
        """As `Journal.progressed`; must not block the loop."""
        ...


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
