"""What a Restate handler of ours does with one invocation: whose it is, a slot, the body, and what its end means."""

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import Any, Final
from uuid import UUID

import restate
from restate.exceptions import RetryableError, TerminalError
from restate.server_context import restate_context_is_replaying

from tandem.declarations import Task
from tandem.engines.restate.durable import RestateDurable
from tandem.engines.restate.executor import ServiceExecutor
from tandem.engines.restate.external import accept
from tandem.engines.restate.journal import Journal
from tandem.engines.restate.targets import HEADER, NAME, target, target_of
from tandem.exceptions import LedgerNotMigrated, LedgerUnavailable, UnknownTask
from tandem.execution.runner import Outcome
from tandem.ledger import connection as ledger
from tandem.ledger import endings
from tandem.ledger.hot import claims
from tandem.ledger.operating import retries
from tandem.ledger.relaying import outbox, runtime
from tandem.ledger.rows import Claim, Lease
from tandem.ledger.statement import Statement

__all__ = ["Handler", "answer_without_a_body", "parse", "unavailable"]

logger = logging.getLogger("tandem.restate")

_NOTHING: Final = b"null"
_LEDGER_SECONDS: Final = 1.0
_OVER_SECONDS: Final = 0.2
_MILLISECOND: Final = timedelta(milliseconds=1)

_STATUS: Final = {"failed": 500, "dead": 500, "parked": 500, "cancelled": 409}
_PERMANENT: Final = "tandem.exceptions.Permanent"
_UNPROCESSABLE: Final = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """Serves one task in one process.

    `others` serves our own sends of its namesakes: an app may have two functions of one name, in two modules.
    """

    task: Task
    process: ServiceExecutor
    others: Callable[[restate.Context, bytes], Awaitable[bytes]] | None = None

    async def __call__(self, context: restate.Context, body: bytes) -> bytes:
        """Run the invocation's execution to its end, or raise what makes Restate come again, or give up."""
        request = context.request()
        reference = request.headers.get(HEADER)
        journal = Journal(context)
        try:
            if reference is None:
                limit = self.process.configuration.max_arguments_bytes
                id_, dispatch_number = await accept(self.task, context, body, limit=limit), 1
                journal.issued, journal.first = 1, 1
            else:
                id_, dispatch_number = parse(reference)
            claiming = claims.claim_invocation(
                id=id_,
                task=self.task.module_path,
                engine=NAME,
                worker=self.process.worker,
                lease=self.process.configuration.lease_seconds,
                dispatch_number=dispatch_number,
                invocation=request.id,
            )
            running = _Invocation(task=self.task, process=self.process, journal=journal, id=id_, claiming=claiming)
            outcome = await running.run()
            if outcome.kind == "succeeded":
                return _answer(outcome.result)
            if outcome.kind == "refused":
                if reference is not None and self.others is not None and await self._is_of_a_namesake(id_):
                    return await self.others(context, body)
                return await answer_without_a_body(
                    self.process, id_, dispatch_number, request.id, own=reference is not None
                )
        except LedgerUnavailable as error:
            raise unavailable(error) from error
        finally:
            await journal.close()
        raise _error(outcome, journal)

    async def _is_of_a_namesake(self, id_: UUID) -> bool:
        found = await ledger.aexecute(retries.phase_of(id_))
        if found is None or found.task == self.task.module_path:
            return False
        try:
            return await ledger.in_thread(target_of, found.task, "") == target(self.task, "")
        except UnknownTask:
            # Which says so on the execution.
            return True


@dataclass(slots=True, kw_only=True)
class _Invocation:
    """The bodies of one invocation, one after the other: a sleep ends one, and the next starts from the top."""

    task: Task
    process: ServiceExecutor
    journal: Journal
    id: UUID
    claiming: Statement[Claim | None]
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _durable: RestateDurable | None = None
    _expired: "asyncio.Future[Outcome] | None" = None
    _waiting: "asyncio.Task[BaseException | None] | None" = None

    async def run(self) -> Outcome:
        invocations = self.process.invocations
        # A connection that broke while the body ran on: what it does is not done a second time beside it.
        while (older := invocations.get(self.id)) is not None:
            await older.ended.wait()
        invocations[self.id] = self
        try:
            while True:
                outcome = await self._run_once()
                if outcome.kind != "over" or self.journal.sleeping is None:
                    return outcome
                await self._wait()
        finally:
            del invocations[self.id]
            self.ended.set()
            self.process.publisher.clear(str(self.id))

    def expired(self, lease: Lease, outcome: Outcome) -> None:
        attempt = None if self._durable is None else self._durable.attempt
        if attempt is not None and attempt.lease == lease and self._expired is not None and not self._expired.done():
            self._expired.set_result(outcome)

    def interrupt(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    async def _run_once(self) -> Outcome:
        self.journal.restart()
        durable = RestateDurable(journal=self.journal, publisher=self.process.publisher, loop=self.process.loop)
        await self.process.slots.take(self.task.module_path)
        self._durable, self._expired = durable, self.process.loop.create_future()
        if not iscoroutinefunction(self.task.func):
            return await self._run_sync(durable, self._expired)
        try:
            return await self._run_async(durable, self._expired)
        finally:
            self.process.slots.release()

    async def _run_sync(self, durable: RestateDurable, expired: "asyncio.Future[Outcome]") -> Outcome:
        body = self.process.run_in_thread(self.claiming, durable)
        try:
            await asyncio.wait((body.ended, expired), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            durable.stop()
            raise
        if body.ended.done():
            return body.ended.result()
        body.abandon()
        return expired.result()

    async def _run_async(self, durable: RestateDurable, expired: "asyncio.Future[Outcome]") -> Outcome:
        running = asyncio.ensure_future(self.process.run_on_loop(self.claiming, durable))
        try:
            await asyncio.wait((running, expired), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            durable.stop()
            raise
        if running.done():
            return running.result()
        await asyncio.wait((running,))
        if not running.cancelled():
            running.exception()
        return expired.result()

    async def _wait(self) -> None:
        """Sleep without a slot. A process that ends hands its sleepers back, to be woken when they are due."""
        self._waiting = asyncio.ensure_future(_quietly(self.journal.wait()))
        left = self.journal.sleeps_for
        try:
            error = await self._waiting
        except asyncio.CancelledError:
            if not self.process.draining.is_set():
                raise
            wait = max(timedelta(seconds=left), _MILLISECOND)
            raise RetryableError("asleep; this process ends", retry_after=wait) from None
        finally:
            self._waiting = None
        if error is not None:
            raise error
        if self.journal.cancelled:
            # As on every engine: what sleeps is cancelled where it is.
            await ledger.in_thread(self._cancel)

    def _cancel(self) -> None:
        done = endings.cancel(self.id, by=NAME, execute=ledger.execute)
        endings.tell_parent(done.parent)
        endings.announce_elsewhere(done.stopped)


async def answer_without_a_body(
    process: ServiceExecutor, id_: UUID, dispatch_number: int, invocation: str, *, own: bool
) -> bytes:
    """What an invocation gets that has nothing to do here: what is recorded of it, null where nothing is.

    One that ended here, and whose answer did not reach the journal's end, comes again. Should the journal have
    the answer, this is the same. Should it have steps, no body asks for them any more, and Restate would refuse
    this answer for ever (570): one that comes to this process a second time is killed, by the relay.
    """
    ended = await ledger.aexecute(runtime.ended(id_, invocation=invocation if own else None))
    if restate_context_is_replaying.get():
        if invocation in process.answered:
            await ledger.aexecute(
                outbox.withdraw(id=id_, engine=NAME, dispatch_number=dispatch_number, invocation=invocation)
            )
            process.answered.discard(invocation)
        else:
            process.answered.add(invocation)
    return _as_recorded(ended)


async def _quietly(call: Coroutine[Any, Any, None]) -> BaseException | None:
    """Carry the SDK's exceptions as values: they are BaseExceptions, which a task reports beside raising them."""
    try:
        await call
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  # raised again by the caller
        return error
    return None


def unavailable(error: LedgerUnavailable) -> RetryableError:
    """Log that the ledger is away, and answer what has Restate come again soon."""
    if isinstance(error, LedgerNotMigrated):
        logger.error("%s", error)
        return RetryableError(str(error), retry_after=timedelta(seconds=5))
    logger.warning("The ledger does not answer (%s); Restate comes again.", error)
    wait = _LEDGER_SECONDS * (1 + random.random())  # noqa: S311  # spreads load
    return RetryableError("the ledger does not answer", retry_after=timedelta(seconds=wait))


def parse(reference: str) -> tuple[UUID, int]:
    """Read the execution and dispatch number that a send of ours names; raises `TerminalError`."""
    id_, _, dispatch_number = reference.rpartition(".")
    try:
        return UUID(id_), int(dispatch_number)
    except ValueError:
        raise TerminalError(
            f"The header {HEADER} is {reference[:100]!r}, but must be '<execution id>.<dispatch>'. Leave it out: it is"
            " for Tandem's own sends.",
            400,
        ) from None


def _answer(result: str | None) -> bytes:
    """The same text from what a body returned and from what PostgreSQL kept of it, whose keys it puts in an order.

    Floats of 1e16 and more come back as whole numbers, which are another text.
    """
    return _NOTHING if result is None else json.dumps(json.loads(result), sort_keys=True).encode()


def _as_recorded(ended: runtime.Ended | None) -> bytes:
    """What a caller gets whose execution has ended without this attempt; null where it has not."""
    if ended is None:
        return _NOTHING
    if ended.outcome == "succeeded":
        return _answer(ended.result)
    failed = ended.outcome != "cancelled" and ended.errors
    line = ended.errors[-1]["traceback"].rstrip().rpartition("\n")[2] if failed else ""
    raise _terminal(ended.outcome, line)


def _terminal(kind: str, error: str) -> TerminalError:
    status = _UNPROCESSABLE if kind == "failed" and error.startswith(_PERMANENT) else _STATUS[kind]
    return TerminalError(f"{kind}: {error}" if error else kind, status)


def _error(outcome: Outcome, journal: Journal) -> BaseException:
    """What to raise so that Restate knows what an end other than success means."""
    if outcome.kind == "retrying":
        return RetryableError(outcome.error, retry_after=max(timedelta(seconds=outcome.delay), _MILLISECOND))
    if outcome.kind == "over":
        if journal.over is not None:
            return journal.over
        # The lease is somebody else's. Should this invocation still be the one, its next claim says so.
        return RetryableError(outcome.error, retry_after=timedelta(seconds=_OVER_SECONDS))
    return _terminal(outcome.kind, outcome.error)
