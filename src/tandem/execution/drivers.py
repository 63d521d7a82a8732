"""The two drivers of durable calls, for sync and for async bodies, and who answers their statements."""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, Final, cast

from asgiref.sync import sync_to_async

from tandem.exceptions import AttemptOver
from tandem.execution.asking import aask, ask, call_back
from tandem.execution.atomic import perform_atomic
from tandem.execution.attempt import Attempt, StepKey
from tandem.execution.durable import Atomic, Awaited, Blocking, DurableCall, Need, Perform
from tandem.ledger.statement import Statement

__all__ = ["LEDGER", "LedgerAnswers", "adrive", "drive"]

_ENDS: Final = "the process is ending"


class LedgerAnswers:
    """Answers what durable calls ask of the ledger: this one from PostgreSQL."""

    def ask[T](self, attempt: Attempt, statement: Statement[T]) -> T:
        """Execute a statement for a sync body; see `asking.ask`."""
        return ask(attempt, statement)

    async def aask[T](self, attempt: Attempt, statement: Statement[T]) -> T:
        """As `ask`, awaited."""
        return await aask(attempt, statement)

    def perform_atomic(self, attempt: Attempt, key: StepKey, function: Callable[[], Any]) -> Any:
        """Run a step's function and record its result in one transaction; see `atomic.perform_atomic`."""
        return perform_atomic(attempt, key, function)


LEDGER: Final = LedgerAnswers()


def drive[T](attempt: Attempt, call: DurableCall[T], ledger: LedgerAnswers = LEDGER) -> T:
    """Run a durable call on a sync body's thread; what its needs raise comes out."""
    go_on, answer = call.send, None
    try:
        while True:
            try:
                need = go_on(answer)
            except StopIteration as end:
                return cast("T", end.value)
            try:
                go_on, answer = call.send, _answer(attempt, need, ledger)
            except BaseException as error:  # noqa: BLE001  # the call lets it out
                go_on, answer = call.throw, error
    finally:
        # An error that is kept here would keep the body's frames, and all that is open in them.
        del answer


def _answer(attempt: Attempt, need: Need, ledger: LedgerAnswers) -> Any:
    match need:
        case Statement():
            return ledger.ask(attempt, need)
        case Perform():
            return need.function()
        case Atomic():
            return ledger.perform_atomic(attempt, need.key, need.function)
        case Blocking():
            return call_back(attempt, need.function)
        case Awaited():
            return _await(attempt, need)


async def adrive[T](attempt: Attempt, call: DurableCall[T], ledger: LedgerAnswers = LEDGER) -> T:
    """As `drive`, on an async body's loop."""
    go_on, answer = call.send, None
    try:
        while True:
            try:
                need = go_on(answer)
            except StopIteration as end:
                return cast("T", end.value)
            try:
                go_on, answer = call.send, await _aanswer(attempt, need, ledger)
            except BaseException as error:  # noqa: BLE001  # the call lets it out
                go_on, answer = call.throw, error
    finally:
        # An error that is kept here would keep the body's frames, and all that is open in them.
        del answer


async def _aanswer(attempt: Attempt, need: Need, ledger: LedgerAnswers) -> Any:
    match need:
        case Statement():
            return await ledger.aask(attempt, need)
        case Perform():
            answer = need.function()
            return await answer if inspect.isawaitable(answer) else answer
        case Atomic():
            return await sync_to_async(ledger.perform_atomic)(attempt, need.key, need.function)
        case Blocking():
            return await sync_to_async(call_back)(attempt, need.function)
        case Awaited():
            return await need.make()


def _await(attempt: Attempt, need: Awaited) -> Any:
    """Wait on a body's thread for what an engine's loop does; whoever stops the attempt cancels it there."""
    coroutine = need.make()
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, need.loop)
    except RuntimeError as error:
        coroutine.close()
        raise attempt.end(_ENDS) from error
    attempt.rouse = future.cancel
    try:
        if attempt.over is not None:
            future.cancel()
        return future.result()
    except CancelledError:
        raise (AttemptOver(attempt.over) if attempt.over is not None else attempt.end(_ENDS)) from None
    finally:
        attempt.rouse = _nobody


def _nobody() -> None:
    """No one waits: the body hears at its next call."""
