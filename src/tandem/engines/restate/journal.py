"""The durable calls of one invocation, on the event loop: what goes into Restate's journal, and what comes out.

A body is run again from the top after each sleep. What it asked for before is then in the journal already and is
answered from the ledger: `issued` counts the journal's commands, `_place` where the body is.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, cast

import restate
from restate.exceptions import SdkInternalBaseException, TerminalError
from restate.serde import JsonSerde
from restate.server_context import DisconnectedException

__all__ = ["Done", "Durable"]

_CANCELLED: Final = 409
_LOOK_AGAIN_SECONDS: Final = 5.0
_OPTIONS: Final = restate.RunOptions[Any](serde=JsonSerde[Any]())


@dataclass(slots=True)
class Done:
    """How a function ended; not `performed` where a cancel came first.

    Errors travel as values: one such as SystemExit must not pass through the event loop.
    """

    value: Any = None
    error: BaseException | None = None
    performed: bool = True


@dataclass(slots=True)
class _Run:
    """One `ctx.run` whose function is executed by the body, wherever that lives."""

    wanted: asyncio.Future[None]
    outcome: asyncio.Future[Any]
    answer: asyncio.Task[Any] = field(init=False)

    async def action(self) -> Any:
        if not self.wanted.done():
            self.wanted.set_result(None)
        return await self.outcome

    def fail(self, message: str) -> None:
        """Let the journal have it as failed, so that nothing waits for it."""
        if not self.outcome.done():
            self.outcome.set_exception(TerminalError(message))
            self.outcome.exception()


@dataclass(slots=True)
class _Sleep:
    """What the handler waits for once the body has ended: a time (None: none), or a wake before it."""

    until: float | None
    futures: dict[str, Any]


@dataclass(slots=True)
class _Held:
    """What the journal has of one wait: a timer where it gives up, and what wakes it. Once woken, it stays so."""

    awakeable: str
    futures: dict[str, Any]


class Durable:
    """Makes one call at a time. `over` has the SDK's exception that ended the attempt, for the handler to raise."""

    def __init__(self, context: restate.Context) -> None:
        self.context = context
        self.first = 0
        self.issued = 0
        self.over: BaseException | None = None
        self.cancelled = False
        self.sleeping: _Sleep | None = None
        self._place = 0
        self._held: dict[int, _Held] = {}
        self._failed: _Run | None = None

    def restart(self) -> None:
        """The body starts from the top, after the `first` commands that are the handler's own."""
        self._place = self.first

    async def step(self, label: str, perform: Callable[[], Awaitable[Done]]) -> Done | None:
        """Run a step in the journal, or answer what the journal has of it; None where the attempt is over.

        `perform` has the body run its function, which writes the checkpoint. A function that raised leaves its run
        open: a retry of the invocation runs it again. Should the body go on to another call, the run is closed as
        failed first (an open one would keep the invocation from suspending), and later attempts run the function
        beside the journal; the checkpoint in the ledger is what counts.
        """
        self._place += 1
        if self._place <= self.issued:
            return await perform()
        if not await self._close_failed():
            return None
        loop = asyncio.get_running_loop()
        run = _Run(loop.create_future(), loop.create_future())
        try:
            future = self.context.run_typed(label, run.action, _OPTIONS)
        except Exception as error:  # noqa: BLE001  # a mismatch of the journal, as the core library raises it
            self.over = error
            return None
        self.issued += 1
        run.answer = asyncio.ensure_future(_await(future))
        try:
            await asyncio.wait((run.wanted, run.answer), return_when=asyncio.FIRST_COMPLETED)
            if run.wanted.done():
                done = await perform()
                if done.error is not None:
                    self._failed = run
                    return done
                if not run.outcome.done():
                    run.outcome.set_result(done.value)
                return done if await self._answer(run, done) else None
            done = Done()
            if not await self._answer(run, done):
                return None
            if done.error is not None:
                return await perform()
        except asyncio.CancelledError:
            run.answer.cancel()
            raise
        return done

    def sleep(self, seconds: float) -> None:
        """Put a sleep into the journal; the handler waits for it once the body has ended.

        Over already (0 or less), it only keeps the journal's order.
        """
        self._place += 1
        future: Awaitable[None] | None = None
        if self._place > self.issued:
            future = self.context.sleep(timedelta(seconds=max(0.0, seconds)))
            self.issued += 1
        futures = {} if future is None else {"time": future}
        self.sleeping = _Sleep(time.monotonic() + seconds, futures) if seconds > 0 else None

    async def begin_sleep(self, seconds: float) -> bool:
        """As `sleep`; False where the attempt is over."""
        if not await self._close_failed():
            return False
        try:
            self.sleep(seconds)
        except Exception as error:  # noqa: BLE001  # as in step()
            self.over = error
            return False
        return True

    async def begin_hold(self, position: int, seconds: float | None) -> str | None:
        """Put a wait at the body's nth call into the journal, once, and answer what wakes it; None where all is over.

        `seconds` is how long it waits at most: whether it does at all is the same on every attempt.
        """
        if not await self._close_failed():
            return None
        held = self._held.get(position)
        if held is None:
            try:
                awakeable, woken = cast("tuple[str, Any]", self.context.awakeable())
                futures = {"woken": woken}
                if seconds is not None:
                    futures["time"] = self.context.sleep(timedelta(seconds=max(0.0, seconds)))
            except Exception as error:  # noqa: BLE001  # as in step()
                self.over = error
                return None
            held = self._held[position] = _Held(awakeable, futures)
        return held.awakeable

    def hold(self, position: int, seconds: float | None) -> None:
        """Have the handler wait for it, once the body has ended."""
        until = None if seconds is None else time.monotonic() + seconds
        self.sleeping = _Sleep(until, self._held[position].futures)

    @property
    def sleeps_for(self) -> float:
        """Seconds that are left of the sleep in hand."""
        if self.sleeping is None or self.sleeping.until is None:
            return 0.0
        return max(0.0, self.sleeping.until - time.monotonic())

    async def wait(self) -> None:
        """Wait for the sleep in hand. Raises what the SDK raises: suspended, disconnected, or cancelled."""
        sleeping, self.sleeping = self.sleeping, None
        if sleeping is None:
            return
        woken_by = "time"
        if sleeping.futures:
            try:
                woken_by, _ = await restate.select(**sleeping.futures)
            except TerminalError as error:
                # One that is no cancel is somebody's rejection of the awakeable: the ledger says what is so.
                self.cancelled = error.status_code == _CANCELLED
                woken_by = "woken"
        if woken_by == "woken":
            # It is spent: should the body find nothing, it must not come straight back here for ever.
            sleeping.futures.pop("woken", None)
            return
        until = time.monotonic() + _LOOK_AGAIN_SECONDS if sleeping.until is None else sleeping.until
        # The ledger's clock and the runtime's may differ by a little: its `due_at` is what the body asks for.
        await asyncio.sleep(max(0.0, until - time.monotonic()))

    async def close(self) -> None:
        """Leave nothing behind that waits."""
        run, self._failed = self._failed, None
        if run is not None:
            run.answer.cancel()
            await asyncio.wait((run.answer,))

    async def _answer(self, run: _Run, done: Done) -> bool:
        """Await a run in the journal; False where the attempt is over. A failure in the journal is put into `done`."""
        try:
            value = await run.answer
        except TerminalError as error:
            if error.status_code == _CANCELLED:
                self.cancelled = True
                run.fail("cancelled before it ran")
                done.performed = run.wanted.done()
            else:
                done.error = error
            return True
        except (SdkInternalBaseException, DisconnectedException) as error:
            self.over = error
            return False
        except Exception as error:  # noqa: BLE001  # as in step()
            self.over = error
            return False
        if done.value is None:
            done.value = value
        return True

    async def _close_failed(self) -> bool:
        run, self._failed = self._failed, None
        if run is not None:
            run.fail("The step failed; the body went on.")
            await self._answer(run, Done())
        return self.over is None


async def _await[T](future: Awaitable[T]) -> T:
    return await future
