"""One service process: its slots, its threads, its heartbeat, and how it drains."""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import psycopg

from tandem.configuration import Configuration, RestateOptions
from tandem.engines.restate.durable import RestateDurable
from tandem.engines.restate.journal import Journal
from tandem.engines.restate.slots import Slots
from tandem.engines.restate.targets import NAME
from tandem.engines.restate.tracker import ProgressPublisher
from tandem.execution.attempt import Attempt
from tandem.execution.leases import Heartbeat
from tandem.execution.runner import Outcome, Runner
from tandem.ledger import connection as ledger
from tandem.ledger.groups import Groups
from tandem.ledger.hot import claims
from tandem.ledger.identity import process_name
from tandem.ledger.rows import Claim, Lease
from tandem.ledger.statement import Statement
from tandem.probes.loops import Watch

if TYPE_CHECKING:
    from uuid import UUID

__all__ = ["ServiceExecutor"]

logger = logging.getLogger("tandem.restate")


class Invocation(Protocol):
    """What a handler lets its process do to it."""

    ended: asyncio.Event

    def expired(self, lease: Lease, outcome: Outcome) -> None:
        """An attempt ran past its time limit; `outcome` says what was recorded, should it be this one's."""
        ...

    def interrupt(self) -> None:
        """Hand a sleeper back: the process ends."""
        ...


class Body:
    """A sync body on its thread, as its handler sees it: what it ends with, and its slot."""

    def __init__(self, process: "ServiceExecutor") -> None:
        self.ended: asyncio.Future[Outcome] = process.loop.create_future()
        self._process = process
        self._holds_slot = True
        self._stuck = False

    def abandon(self) -> None:
        """Go on without it: its slot is free, its thread is stuck until it ends."""
        self._stuck = True
        self._process.count_stuck(1)
        self._release()

    def finish(self, outcome: Outcome | None, error: BaseException | None) -> None:
        """Take what the thread ended with, on the loop."""
        self._release()
        if self._stuck:
            self._process.count_stuck(-1)
        if self.ended.done():
            return
        if outcome is not None:
            self.ended.set_result(outcome)
        else:
            self.ended.set_exception(error or RuntimeError("a body ended without an outcome"))

    def _release(self) -> None:
        if self._holds_slot:
            self._holds_slot = False
            self._process.slots.release()


class ServiceExecutor:
    """Runs at most `concurrency` bodies at once, of sync tasks in threads of its own, of async tasks on the loop.

    Make it on the loop that serves. `stuck` counts threads whose body ran past its time limit and did not end; with
    more of them than `stuck_threads` the process drains, to be started again. `answered` has the invocations that had
    begun before and got an answer without a body.
    """

    def __init__(
        self, configuration: Configuration, *, concurrency: int | None = None, watch: Watch | None = None
    ) -> None:
        watch = watch or Watch()
        self.configuration = configuration
        self.options = configuration.restate or RestateOptions()
        self.concurrency = concurrency or self.options.concurrency
        self.worker = process_name(NAME)
        self.runner = Runner(
            lease_seconds=configuration.lease_seconds,
            max_result_bytes=configuration.max_result_bytes,
            max_lost_leases=configuration.max_lost_leases,
            execute=Groups().execute,
        )
        self.publisher = ProgressPublisher(options=self.options, watch=watch)
        self.loop = asyncio.get_running_loop()
        self.stuck = 0
        self.draining = asyncio.Event()
        self.exit_code = 0
        self.invocations: dict[UUID, Invocation] = {}
        self.answered: set[str] = set()
        self.slots = Slots(self.concurrency)
        self._threads = ThreadPoolExecutor(
            self.concurrency + self.options.stuck_threads + 1, thread_name_prefix="tandem-body"
        )
        self._heartbeat = Heartbeat(
            worker=self.worker,
            kind="service",
            engine=NAME,
            queues=(),
            concurrency=self.concurrency,
            lease_seconds=configuration.lease_seconds,
            leases=self.runner.active.leases,
            on_lease_lost=self.runner.active.lose,
            on_cancel_requested=self.runner.active.cancel,
            stuck=lambda: self.stuck,
            overdue=self._expire_overdue,
            watch=watch,
        )

    async def start(self) -> None:
        """Become known in the ledger, as soon as that is there."""
        await ledger.in_thread(self._heartbeat.start)

    def run_in_thread(self, claiming: Statement[Claim | None], durable: RestateDurable) -> "Body":
        """Run a sync body on a thread of its own; the caller holds a slot, which the body gives back."""
        body = Body(self)
        self._threads.submit(self._run, claiming, durable, body)
        return body

    def _run(self, claiming: Statement[Claim | None], durable: RestateDurable, body: "Body") -> None:
        outcome: Outcome | None = None
        error: BaseException | None = None
        try:
            outcome = self.runner.run(claiming, durable)
            if _cut_off(outcome, durable.journal):
                _release(outcome)
        except BaseException as raised:  # noqa: BLE001  # raised again by the handler
            error = raised
        with suppress(RuntimeError):  # The loop has ended, and with it the process.
            self.loop.call_soon_threadsafe(body.finish, outcome, error)

    async def run_on_loop(self, claiming: Statement[Claim | None], durable: RestateDurable) -> Outcome:
        """Run an async body; the caller holds a slot."""
        outcome = await self.runner.arun(claiming, durable)
        return await ledger.in_thread(_release, outcome) if _cut_off(outcome, durable.journal) else outcome

    def count_stuck(self, change: int) -> None:
        """Count threads whose body ran past its limit until they end; too many of them end the process."""
        self.stuck += change
        if change < 0:
            return
        logger.error("A body ran past its time limit and its thread did not end; %d such thread(s).", self.stuck)
        if self.stuck > self.options.stuck_threads:
            logger.error("More than %d stuck threads: this process drains and ends.", self.options.stuck_threads)
            self.exit_code = 1
            self.draining.set()

    async def drain(self, grace: float) -> None:
        """Take nothing more; let bodies end for `grace` seconds, then hand their executions back."""
        self.draining.set()
        self.slots.close()
        for running in list(self.invocations.values()):
            running.interrupt()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self.invocations:
                    await next(iter(self.invocations.values())).ended.wait()
        left = self.runner.active.attempts()
        if left:
            logger.warning("%d execution(s) did not end in %.0f s and are requeued.", len(left), grace)
            await ledger.in_thread(self._release_all, left)
        await asyncio.to_thread(self._heartbeat.stop)
        await asyncio.to_thread(self.publisher.stop)

    def _release_all(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            attempt.stop("the process ends")
            with suppress(psycopg.Error):
                ledger.execute(claims.release(attempt.lease))

    def threads_left(self, seconds: float) -> bool:
        """Whether threads of bodies still run after so many seconds."""
        self._threads.shutdown(wait=False)
        deadline = time.monotonic() + seconds
        for thread in self._threads._threads:  # noqa: SLF001  # it has no public view
            thread.join(max(0.0, deadline - time.monotonic()))
        return any(thread.is_alive() for thread in self._threads._threads)  # noqa: SLF001  # as above

    def _expire_overdue(self) -> None:
        """From the heartbeat's thread, every second."""
        for attempt in self.runner.overdue():
            outcome = self.runner.expire(attempt)
            with suppress(RuntimeError):  # As in _run().
                self.loop.call_soon_threadsafe(self._expired, attempt.lease, outcome)

    def _expired(self, lease: Lease, outcome: Outcome) -> None:
        for running in self.invocations.values():
            running.expired(lease, outcome)


def _cut_off(outcome: Outcome, journal: Journal) -> bool:
    return outcome.kind == "over" and journal.sleeping is None


def _release(outcome: Outcome) -> Outcome:
    """Give up the lease of an attempt that ended without an outcome, so that it counts as no lost lease.

    Does nothing where another attempt has taken over.
    """
    if outcome.claim is not None:
        ledger.execute(claims.release(outcome.claim.lease))
    return outcome
