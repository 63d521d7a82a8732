"""What a body may call: `step`, `progress`, `sleep`, `wait`, `call`, `gather`, and who it is.

Each call is a generator of `calls`; a context's kind only says who drives it.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast, overload

from django.tasks import TaskContext

from tandem.declarations import BoundCall, Task
from tandem.exceptions import Permanent
from tandem.execution.calls import Calls
from tandem.execution.drivers import LEDGER, LedgerAnswers, adrive, drive
from tandem.execution.durable import DurableCall

if TYPE_CHECKING:
    # Generic in the stubs alone.
    _ContextBase = TaskContext[..., Any]
else:
    _ContextBase = TaskContext

__all__ = ["AsyncContext", "Context"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _BaseContext(_ContextBase):  # type: ignore[misc]  # frozen in Django, not so in the stubs
    _calls: Calls
    _ledger: LedgerAnswers = LEDGER

    @property
    def attempt(self) -> int:
        """Failures + lost leases + 1: a suspension or a replay counts nothing."""
        return self._calls.attempt.claim.attempts + 1

    @property
    def execution_id(self) -> str:
        """The result's id."""
        return str(self._calls.attempt.claim.id)

    @property
    def engine(self) -> str:
        """The engine this attempt runs on."""
        return self._calls.attempt.claim.engine

    @property
    def owner(self) -> str | None:
        """Whose execution this is, as `.using(owner=)` said."""
        return self._calls.attempt.claim.owner

    def idempotency_key(self, step: str) -> str:
        """Return a key for outside systems, the same on every attempt and engine (side effects are at least once)."""
        return self._calls.attempt.idempotency_key(step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(_BaseContext):  # type: ignore[misc]  # as above
    """The context of a sync body; Django's, with durable calls. Every call may raise `Cancelled` or `AttemptOver`."""

    def step[T](self, name: str, function: Callable[..., T], /, *args: Any, atomic: bool = False, **kwargs: Any) -> T:
        """Run `function` once, record its JSON result, and answer that result on every later attempt.

        The result is what JSON makes of it (tuples become lists). It may run more than once before it is recorded,
        never after. What it raises comes out here and is not recorded. A result that is not JSON is `Permanent`.

        `atomic`: what the function writes to the `default` database commits with the record, or not at all: exactly
        once. Not inside a transaction of the body's own, which could still be rolled back.
        """
        if inspect.iscoroutinefunction(function):
            raise Permanent(f"Step {name!r} is an async function; a sync body's steps are plain functions.")
        return cast("T", self._drive(self._calls.step(name, partial(function, *args, **kwargs), atomic=atomic)))

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Say how far the body is. Written a few times a second at most, at once the first time and at the end."""
        self._drive(self._calls.progress(current, total, message))

    def sleep(self, duration: float | timedelta) -> None:
        """Suspend for `duration` (seconds or a timedelta, up to 366 days), holding no worker.

        The body is replayed from the top when it is over; finished steps answer from the ledger. Refused inside
        `transaction.atomic()`, which would roll back.
        """
        self._drive(self._calls.sleep(duration))

    def wait(self, signal: str, timeout: float | timedelta | None = None) -> Any:
        """Suspend until a signal of this name is there, and answer its payload; each signal is answered once.

        Signals that came before are kept, in order. Raises `SignalTimeout` after `timeout` (seconds or a timedelta).
        """
        return self._drive(self._calls.wait(signal, timeout))

    def call(self, task: Task, /, *args: Any, **kwargs: Any) -> Any:
        """Run another task as this one's child, suspended until it ends, and answer its result.

        The child runs on this execution's engine where that can serve it. Raises `ChildFailed`.
        """
        return self._drive(self._calls.call(BoundCall(task=task, args=args, kwargs=kwargs)))

    def gather(self, *calls: BoundCall, return_exceptions: bool = False) -> list[Any]:
        """Run `task.bind(...)` calls as children, all at once, and answer their results in order once all have ended.

        Raises the first `ChildFailed`, or has each in its child's place where `return_exceptions` is set.
        """
        return self._drive(self._calls.gather(calls, return_exceptions=return_exceptions))

    def _drive[T](self, call: DurableCall[T]) -> T:
        return drive(self._calls.attempt, call, self._ledger)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncContext(_BaseContext):  # type: ignore[misc]  # as above
    """The context of an async body: the same calls, awaited. `idempotency_key` and the properties are plain."""

    @overload
    async def step[T](
        self, name: str, function: Callable[..., Awaitable[T]], /, *args: Any, atomic: bool = False, **kwargs: Any
    ) -> T: ...
    @overload
    async def step[T](
        self, name: str, function: Callable[..., T], /, *args: Any, atomic: bool = False, **kwargs: Any
    ) -> T: ...
    async def step(
        self, name: str, function: Callable[..., Any], /, *args: Any, atomic: bool = False, **kwargs: Any
    ) -> Any:
        """As `Context.step`; `function` may be async or plain (a plain one blocks the loop: keep it short).

        An `atomic` one is plain, and runs on a thread: Django's transactions are not async.
        """
        if atomic and inspect.iscoroutinefunction(function):
            raise Permanent(f"Step {name!r} is atomic, so it must be a plain function, not an async one.")
        return await self._drive(self._calls.step(name, partial(function, *args, **kwargs), atomic=atomic))

    async def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """As `Context.progress`."""
        await self._drive(self._calls.progress(current, total, message))

    async def sleep(self, duration: float | timedelta) -> None:
        """As `Context.sleep`."""
        await self._drive(self._calls.sleep(duration))

    async def wait(self, signal: str, timeout: float | timedelta | None = None) -> Any:  # noqa: ASYNC109  # durable
        """As `Context.wait`."""
        return await self._drive(self._calls.wait(signal, timeout))

    async def call(self, task: Task, /, *args: Any, **kwargs: Any) -> Any:
        """As `Context.call`."""
        return await self._drive(self._calls.call(BoundCall(task=task, args=args, kwargs=kwargs)))

    async def gather(self, *calls: BoundCall, return_exceptions: bool = False) -> list[Any]:
        """As `Context.gather`."""
        return await self._drive(self._calls.gather(calls, return_exceptions=return_exceptions))

    async def _drive[T](self, call: DurableCall[T]) -> T:
        return await adrive(self._calls.attempt, call, self._ledger)
