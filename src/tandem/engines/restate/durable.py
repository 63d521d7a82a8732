"""The journals of sync and async bodies: the body's side of the bridge."""

import asyncio
import queue
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tandem.engines.restate.bridge import Done, Durable
from tandem.engines.restate.tracker import ProgressPublisher
from tandem.exceptions import AttemptOver
from tandem.execution.asking import aask, ask
from tandem.execution.attempt import Attempt, StepKey
from tandem.execution.waiting import Hold

__all__ = ["LoopJournal", "ThreadJournal"]

_SUSPENDED = "the invocation was suspended, aborted or disconnected; Restate drives it on"


@dataclass(frozen=True, slots=True)
class _Perform:
    """Asks the body's thread to run the function of the step it waits in."""

    answer: Callable[[Done], None]


@dataclass(kw_only=True)
class _Journal:
    durable: Durable
    publisher: ProgressPublisher
    attempt: Attempt | None = None
    stopped: bool = False

    def begin(self, attempt: Attempt) -> None:
        """Take the attempt whose calls come here, and no other's, however late they come."""
        self.attempt = attempt
        if self.stopped:
            attempt.end(_SUSPENDED)

    def progressed(self, attempt: Attempt, current: float, total: float | None, message: str) -> None:
        """Publish progress to the tracker, in the background."""
        self.publisher.put(str(attempt.claim.id), {"current": current, "total": total, "message": message})

    def _over(self) -> AttemptOver:
        return AttemptOver(_SUSPENDED) if self.attempt is None else self.attempt.end(_SUSPENDED)

    def stop(self) -> None:
        """End the attempt, whose invocation ended without it, and rouse its body."""
        self.stopped = True
        if self.attempt is not None:
            self.attempt.stop(_SUSPENDED)

    def _guard(self) -> None:
        """Tell the body of a cancel that came through Restate, once."""
        if self.durable.cancelled and self.attempt is not None:
            self.attempt.cancel_requested = True
            self.attempt.guard()


def _sleep_of(attempt: Attempt, seconds: float) -> float:
    """The journal's sleep of a body that was cancelled and cleans up: it does not wait any more."""
    return 0.0 if attempt.cancel_raised else seconds


class ThreadJournal(_Journal):
    """For a sync body. Each call is handed to the loop; the body's thread serves an inbox until it is answered."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop, **given: Any) -> None:
        super().__init__(**given)
        self._loop = loop
        self._inbox: queue.SimpleQueue[_Perform | Done | None] = queue.SimpleQueue()

    def begin(self, attempt: Attempt) -> None:
        """As above; a body that waits in a call is roused by its inbox."""
        super().begin(attempt)
        attempt.rouse = lambda: self._inbox.put(None)

    def step(self, key: StepKey, action: Callable[[], Any]) -> Any:
        """Run `action` on this thread when the journal wants it run."""
        failure: BaseException | None = None
        answer = self._call(self.durable.step(key.label, self._perform))
        while isinstance(answer, _Perform):
            done = _run(action)
            failure = done.error
            self._post(answer.answer, done)
            answer = self._inbox.get()
        if answer is None:
            raise self._over()
        self._guard()
        if not answer.performed:
            return action()
        if answer.error is not None:
            raise failure or answer.error
        return answer.value

    def sleep(self, attempt: Attempt, key: StepKey, seconds: float) -> None:
        """Give up the lease and end the body; it is run again when the sleep is over."""
        seconds = _sleep_of(attempt, seconds)
        if seconds > 0 and not ask(attempt, attempt.suspend(key, seconds)):
            attempt.apply(ask(attempt, attempt.resume()))
            attempt.guard()
        if self._call(self._begin_sleep(seconds)) is None:
            raise self._over()
        if seconds > 0:
            raise attempt.end(f"asleep for {seconds:.1f} s")

    def hold(self, attempt: Attempt, hold: Hold) -> None:
        """Give up the lease and end the body; it is run again when something came, or the wait gives up."""
        position = hold.key.position
        done = self._call(self._begin_hold(position, hold.seconds))
        if not isinstance(done, Done):
            raise self._over()
        if not hold.over and ask(attempt, hold.statement(attempt, awakeable=done.value)):
            self._post(lambda seconds: self.durable.hold(position, seconds), hold.seconds)
            raise attempt.end(f"it waits for {hold.key.label}")

    async def _begin_sleep(self, seconds: float) -> Done | None:
        return Done() if await self.durable.begin_sleep(seconds) else None

    async def _begin_hold(self, position: int, seconds: float | None) -> Done | None:
        awakeable = await self.durable.begin_hold(position, seconds)
        return None if awakeable is None else Done(awakeable)

    async def _perform(self) -> Done:
        future: asyncio.Future[Done] = self._loop.create_future()

        def resolve(done: Done) -> None:
            if not future.done():
                future.set_result(done)

        self._inbox.put(_Perform(resolve))
        return await future

    def _call(self, call: Coroutine[Any, Any, Done | None]) -> _Perform | Done | None:
        if self.durable.over is not None:
            call.close()
            raise self._over()
        self._post(self._start, call)
        return self._inbox.get()

    def _start(self, call: Coroutine[Any, Any, Done | None]) -> None:
        async def answer() -> None:
            result: Done | None = None
            try:
                result = await call
            finally:
                self._inbox.put(result)

        self._task = self._loop.create_task(answer())

    def _post(self, function: Callable[[Any], None], argument: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError as error:
            raise AttemptOver("the process is ending") from error


class LoopJournal(_Journal):
    """For an async body, on the same loop."""

    async def step(self, key: StepKey, action: Callable[[], Awaitable[Any]]) -> Any:
        """Run `action` in the body's own task when the journal wants it run."""
        if self.durable.over is not None:
            raise self._over()

        async def perform() -> Done:
            try:
                return Done(await action())
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001  # it is raised again in the body
                return Done(error=error)

        done = await self.durable.step(key.label, perform)
        if done is None:
            raise self._over()
        self._guard()
        if not done.performed:
            return await action()
        if done.error is not None:
            raise done.error
        return done.value

    async def sleep(self, attempt: Attempt, key: StepKey, seconds: float) -> None:
        """As `ThreadJournal.sleep`."""
        seconds = _sleep_of(attempt, seconds)
        if seconds > 0 and not await aask(attempt, attempt.suspend(key, seconds)):
            attempt.apply(await aask(attempt, attempt.resume()))
            attempt.guard()
        if self.durable.over is not None or not await self.durable.begin_sleep(seconds):
            raise self._over()
        if seconds > 0:
            raise attempt.end(f"asleep for {seconds:.1f} s")

    async def hold(self, attempt: Attempt, hold: Hold) -> None:
        """As `ThreadJournal.hold`."""
        position = hold.key.position
        awakeable = None if self.durable.over else await self.durable.begin_hold(position, hold.seconds)
        if awakeable is None:
            raise self._over()
        if not hold.over and await aask(attempt, hold.statement(attempt, awakeable=awakeable)):
            self.durable.hold(position, hold.seconds)
            raise attempt.end(f"it waits for {hold.key.label}")


def _run(action: Callable[[], Any]) -> Done:
    try:
        return Done(action())
    except BaseException as error:  # noqa: BLE001  # it is raised again in the body
        return Done(error=error)
