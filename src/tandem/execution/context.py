"""What a body may call: `step`, `progress`, `sleep`, `wait`, `call`, `gather`, and who it is.

The semantics live here, in `attempt`, `steps` and `waiting` beside this, once, for both engines: where a step
stands, what an earlier attempt recorded, what is written, and that a body whose attempt is over stops at its next
call. An engine's `Journal` decides only how a step's closure is run and how a body waits.
"""

import inspect
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast, overload

from asgiref.sync import sync_to_async
from django.tasks import TaskContext

from tandem.declarations import BoundCall, Task
from tandem.exceptions import Permanent
from tandem.execution.asking import aask, ask, call_back
from tandem.execution.attempt import Attempt, StepKey, duration_of
from tandem.execution.journal import AsyncJournal, Journal
from tandem.execution.steps import perform_atomic, record
from tandem.execution.waiting import Hold, Steps, gather, wait
from tandem.ledger.statement import Statement

if TYPE_CHECKING:
    # Generic in the stubs alone.
    _ContextBase = TaskContext[..., Any]
else:
    _ContextBase = TaskContext

__all__ = ["AsyncContext", "Context"]

_SLEEP = "sleep"
_GATHER = "gather"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(_BaseContext):  # type: ignore[misc]  # as above
    """The context of a sync body; Django's, with durable calls. Every call may raise `Cancelled` or `AttemptOver`."""

    _journal: Journal

    def step[T](self, name: str, function: Callable[..., T], /, *args: Any, atomic: bool = False, **kwargs: Any) -> T:
        """Run `function` once, record its JSON result, and answer that result on every later attempt.

        The result is what JSON makes of it (tuples become lists). It may run more than once before it is recorded,
        never after. What it raises comes out here and is not recorded. A result that is not JSON is `Permanent`.

        `atomic`: what the function writes to the `default` database commits with the record, or not at all: exactly
        once. Not inside a transaction of the body's own, which could still be rolled back.
        """
        if inspect.iscoroutinefunction(function):
            raise Permanent(f"Step {name!r} is an async function; a sync body's steps are plain functions.")
        perform = self._perform
        if atomic:
            self._refuse_in_transaction("step")
            perform = self._perform_atomic
        key = self._attempt.step_key(name)
        result = self._journal.step(key, lambda: perform(key, lambda: function(*args, **kwargs)))
        return cast("T", result)

    def _perform(self, key: StepKey, action: Callable[[], Any]) -> Any:
        attempt = self._attempt
        recorded = attempt.recorded.get((key.name, key.occurrence))
        if recorded is not None:
            return recorded.result
        started = time.monotonic()
        value = action()
        return self._drive(record(attempt, key, value, time.monotonic() - started))

    def _perform_atomic(self, key: StepKey, action: Callable[[], Any]) -> Any:
        return perform_atomic(self._attempt, key, action)

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Say how far the body is. Written a few times a second at most, at once the first time and at the end."""
        attempt = self._attempt
        attempt.guard()
        if attempt.progress_due(current, total, message):
            self._flush()

    def _flush(self) -> None:
        attempt = self._attempt
        pending = attempt.progress_statement()
        if pending is not None:
            attempt.apply(ask(attempt, pending))
            values = pending.parameters
            self._journal.progressed(attempt, values["current"], values["total"], values["message"])

    def sleep(self, duration: float | timedelta) -> None:
        """Suspend for `duration` (seconds or a timedelta, up to 366 days), holding no worker.

        The body is replayed from the top when it is over; finished steps answer from the ledger. Refused inside
        `transaction.atomic()`, which would roll back.
        """
        self._refuse_in_transaction("sleep")
        key = self._attempt.step_key(_SLEEP)
        self._flush()
        self._journal.sleep(self._attempt, key, self._attempt.remaining(key, duration))
        self._attempt.guard()

    def wait(self, signal: str, timeout: float | timedelta | None = None) -> Any:
        """Suspend until a signal of this name is there, and answer its payload; each signal is answered once.

        Signals that came before are kept, in order. Raises `SignalTimeout` after `timeout` (seconds or a timedelta).
        """
        self._refuse_in_transaction("wait")
        seconds = None if timeout is None else duration_of(timeout, what="wait()'s timeout")
        key = self._attempt.step_key(signal)
        self._flush()
        return self._drive(wait(self._attempt, key, signal=signal, seconds=seconds))

    def call(self, task: Task, /, *args: Any, **kwargs: Any) -> Any:
        """Run another task as this one's child, suspended until it ends, and answer its result.

        The child runs on this execution's engine where that can serve it. Raises `ChildFailed`.
        """
        self._refuse_in_transaction("call")
        key = self._attempt.step_key(task.name)
        self._flush()
        child = BoundCall(task=task, args=args, kwargs=kwargs)
        return self._drive(gather(self._attempt, key, [child], return_exceptions=False))[0]

    def gather(self, *calls: BoundCall, return_exceptions: bool = False) -> list[Any]:
        """Run `task.bind(...)` calls as children, all at once, and answer their results in order once all have ended.

        Raises the first `ChildFailed`, or has each in its child's place where `return_exceptions` is set.
        """
        self._refuse_in_transaction("gather")
        key = self._attempt.step_key(_GATHER)
        self._flush()
        return self._drive(gather(self._attempt, key, calls, return_exceptions=return_exceptions))

    def _refuse_in_transaction(self, call: str) -> None:
        from django.db import connections  # noqa: PLC0415  # only a body that suspends asks

        for alias in connections:
            if connections[alias].in_atomic_block:
                raise Permanent(
                    f"context.{call}() inside transaction.atomic() (database {alias!r}): suspending would roll the"
                    " transaction back. Leave the block first."
                )

    def _drive[T](self, steps: Steps[T]) -> T:
        answer: Any = None
        try:
            while True:
                asked = steps.send(answer)
                answer = None
                if isinstance(asked, Hold):
                    self._journal.hold(self._attempt, asked)
                elif isinstance(asked, Statement):
                    answer = ask(self._attempt, asked)
                else:
                    answer = call_back(self._attempt, asked)
        except StopIteration as end:
            return cast("T", end.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncContext(_BaseContext):  # type: ignore[misc]  # as above
    """The context of an async body: the same calls, awaited. `idempotency_key` and the properties are plain."""

    _journal: AsyncJournal

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
        perform = self._perform_atomic if atomic else self._perform
        key = self._attempt.step_key(name)
        return await self._journal.step(key, lambda: perform(key, lambda: function(*args, **kwargs)))

    async def _perform_atomic(self, key: StepKey, action: Callable[[], Any]) -> Any:
        return await sync_to_async(perform_atomic)(self._attempt, key, action)

    async def _perform(self, key: StepKey, action: Callable[[], Any]) -> Any:
        attempt = self._attempt
        recorded = attempt.recorded.get((key.name, key.occurrence))
        if recorded is not None:
            return recorded.result
        started = time.monotonic()
        value = action()
        if inspect.isawaitable(value):
            value = await value
        return await self._drive(record(attempt, key, value, time.monotonic() - started))

    async def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """As `Context.progress`."""
        attempt = self._attempt
        attempt.guard()
        if attempt.progress_due(current, total, message):
            await self._flush()

    async def _flush(self) -> None:
        attempt = self._attempt
        pending = attempt.progress_statement()
        if pending is not None:
            attempt.apply(await aask(attempt, pending))
            values = pending.parameters
            self._journal.progressed(attempt, values["current"], values["total"], values["message"])

    async def sleep(self, duration: float | timedelta) -> None:
        """As `Context.sleep`."""
        key = self._attempt.step_key(_SLEEP)
        await self._flush()
        await self._journal.sleep(self._attempt, key, self._attempt.remaining(key, duration))
        self._attempt.guard()

    async def wait(self, signal: str, timeout: float | timedelta | None = None) -> Any:  # noqa: ASYNC109  # durable
        """As `Context.wait`."""
        seconds = None if timeout is None else duration_of(timeout, what="wait()'s timeout")
        key = self._attempt.step_key(signal)
        await self._flush()
        return await self._drive(wait(self._attempt, key, signal=signal, seconds=seconds))

    async def call(self, task: Task, /, *args: Any, **kwargs: Any) -> Any:
        """As `Context.call`."""
        key = self._attempt.step_key(task.name)
        await self._flush()
        child = BoundCall(task=task, args=args, kwargs=kwargs)
        return (await self._drive(gather(self._attempt, key, [child], return_exceptions=False)))[0]

    async def gather(self, *calls: BoundCall, return_exceptions: bool = False) -> list[Any]:
        """As `Context.gather`."""
        key = self._attempt.step_key(_GATHER)
        await self._flush()
        return await self._drive(gather(self._attempt, key, calls, return_exceptions=return_exceptions))

    async def _drive[T](self, steps: Steps[T]) -> T:
        answer: Any = None
        try:
            while True:
                asked = steps.send(answer)
                answer = None
                if isinstance(asked, Hold):
                    await self._journal.hold(self._attempt, asked)
                elif isinstance(asked, Statement):
                    answer = await aask(self._attempt, asked)
                else:
                    answer = await sync_to_async(call_back)(self._attempt, asked)
        except StopIteration as end:
            return cast("T", end.value)
