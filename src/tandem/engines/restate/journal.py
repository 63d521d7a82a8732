"""The journal of one invocation, on the event loop: what goes into Restate's, and what comes out.

A body is run again from the top after each sleep. What it asked for before is then in the journal already and is
answered from the ledger: `issued` counts the journal's runs, `_place` where the body is, and `_held` has its waits.
"""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, cast

import restate
from restate.exceptions import SdkInternalBaseException, TerminalError
from restate.serde import JsonSerde
from restate.server_context import DisconnectedException

from tandem.execution.durable import Answered

__all__ = ["Held", "Journal"]

_CANCELLED: Final = 409
_LOOK_AGAIN_SECONDS: Final = 5.0
_OPTIONS: Final = restate.RunOptions[Any](serde=JsonSerde[Any]())


@dataclass(slots=True)
class _Run:
    """One `ctx.run` whose function is called by the body, wherever that lives."""

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
class Held:
    """What the journal has of one wait: a timer where it gives up, and what wakes it. Once woken, it stays so."""

    awakeable: str | None
    futures: dict[str, Any]


class Journal:
    """Keeps each step's run apart, for steps may be performed at once. `over` has the SDK's exception that ended the attempt, for the handler to raise."""

    def __init__(self, context: restate.Context) -> None:
        self.context = context
        self.first = 0
        self.issued = 0
        self.over: BaseException | None = None
        self.cancelled = False
        self.sleeping: _Sleep | None = None
        self._place = 0
        self._held: dict[int, Held] = {}
        # Runs whose functions are performed, by the body's call; and those whose functions raised.
        self._performed: dict[int, _Run] = {}
        self._failed: list[_Run] = []

    def restart(self) -> None:
        """The body starts from the top, after the `first` commands that are the handler's own."""
        self._place = self.first

    async def begin(self, position: int, label: str) -> Answered | None:
        """Begin a step: answer what the journal has of it, or None where the body is to perform it.

        One that is not completed, for its function raised, leaves its run open: a retry of the invocation runs it
        again. Should the body go on to another call, the run is closed as failed first (an open one would keep the
        invocation from suspending), and later attempts perform the function beside the journal; the checkpoint in the
        ledger is what counts.
        """
        self._place += 1
        if self._place <= self.issued or not await self._close_failed():
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
        except asyncio.CancelledError:
            run.answer.cancel()
            raise
        if run.wanted.done():
            self._performed[position] = run
            return None
        return await self._answer(run)

    def fail(self, position: int) -> None:
        """Hear that a step's function raised; from the body's thread."""
        run = self._performed.pop(position, None)
        if run is not None:
            self._failed.append(run)

    async def complete(self, position: int, value: Any) -> None:
        """Give the journal the result of a step, if that has a run there."""
        run = self._performed.pop(position, None)
        if run is not None:
            if not run.outcome.done():
                run.outcome.set_result(value)
            await self._answer(run)

    async def hold(self, position: int, seconds: float | None, *, wakeable: bool) -> Held | None:
        """Put a wait at the body's nth call into the journal, once; None where all is over.

        `seconds` is how long it waits at most: whether it does at all is the same on every attempt. Over already (0
        or less), it only keeps the journal's order.
        """
        if not await self._close_failed():
            return None
        held = self._held.get(position)
        if held is None:
            held = Held(None, {})
            try:
                if wakeable:
                    held.awakeable, held.futures["woken"] = cast("tuple[str, Any]", self.context.awakeable())
                if seconds is not None:
                    held.futures["time"] = self.context.sleep(timedelta(seconds=max(0.0, seconds)))
            except Exception as error:  # noqa: BLE001  # as in begin()
                self.over = error
                return None
            self._held[position] = held
        return held

    def suspend(self, held: Held, seconds: float | None) -> None:
        """Have the handler wait for it, once the body has ended."""
        self.sleeping = _Sleep(None if seconds is None else time.monotonic() + seconds, held.futures)

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
        left = [*self._failed, *self._performed.values()]
        self._failed, self._performed = [], {}
        for run in left:
            run.answer.cancel()
        if left:
            await asyncio.wait([run.answer for run in left])

    async def _answer(self, run: _Run) -> Answered | None:
        """Await what the journal has of a run; None where that is no result: it failed, or the attempt is over."""
        try:
            return Answered(await run.answer)
        except TerminalError as error:
            if error.status_code == _CANCELLED:
                self.cancelled = True
                run.fail("cancelled before it ran")
        except (SdkInternalBaseException, DisconnectedException) as error:
            self.over = error
        except Exception as error:  # noqa: BLE001  # as in begin()
            self.over = error
        return None

    async def _close_failed(self) -> bool:
        """Close runs whose functions raised; False where the attempt is over."""
        while self._failed:
            run = self._failed.pop(0)
            run.fail("The step failed; the body went on.")
            await self._answer(run)
        return self.over is None


async def _await[T](future: Awaitable[T]) -> T:
    return await future
