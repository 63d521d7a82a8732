"""Running executions in one process: a prefork child, or a worker whose pool is threads."""

import asyncio
import logging
import os
import signal
import threading
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final
from uuid import UUID

import psycopg
from celery.exceptions import SoftTimeLimitExceeded

from tandem.attempt import Attempt
from tandem.engines.celery.journal import AsyncCeleryJournal, CeleryJournal
from tandem.exceptions import TimeLimitExceeded
from tandem.ledger import celery as rows
from tandem.ledger import connection as ledger
from tandem.ledger import statements
from tandem.runner import Outcome, Runner

__all__ = ["Process"]

logger = logging.getLogger("tandem.celery")

_SOFT_LIMIT: Final = signal.SIGUSR1


@dataclass(slots=True)
class _Body:
    """An async body on its loop. `expiry` is set once its time limit is over and that is being recorded."""

    loop: asyncio.AbstractEventLoop
    task: "asyncio.Task[Outcome]"
    expiry: "asyncio.Future[Outcome] | None" = None


class _Loop(threading.local):
    runner: asyncio.Runner | None = None


@dataclass(kw_only=True)
class Process:
    """Claims, runs and records; async bodies run on a loop that each thread keeps."""

    runner: Runner
    worker: str
    lease: float
    _pid: int = field(default_factory=os.getpid)
    _journal: CeleryJournal = field(default_factory=CeleryJournal)
    _async_journal: AsyncCeleryJournal = field(default_factory=AsyncCeleryJournal)
    _loop: _Loop = field(default_factory=_Loop)
    _bodies: dict[UUID, _Body] = field(default_factory=dict)
    _executing: bool = False
    _on_terminate: Any = None

    def execute(self, id_: UUID, *, asynchronous: bool) -> Outcome:
        """Run one attempt of an execution.

        A ledger that cannot be reached is logged and answered as `refused`: the message is gone, and the relay sends
        the row again once its claim, or its lease, is a lease old.
        """
        claiming = statements.claim(id=id_, engine="celery", worker=self.worker, lease=self.lease)
        self._executing = True
        try:
            if asynchronous:
                return self._own_loop().run(self._run(id_, claiming))
            return self.runner.run(claiming, self._journal)
        except psycopg.Error as error:
            logger.error("The ledger did not answer for %s (%s); the relay sends it again.", id_, error)  # noqa: TRY400
            return Outcome(kind="refused", error=str(error))
        finally:
            self._executing = False
            if self._on_terminate is not None:
                signal.signal(signal.SIGTERM, self._on_terminate)
                self._on_terminate = None

    def _own_loop(self) -> asyncio.Runner:
        if self._loop.runner is None:
            self._loop.runner = asyncio.Runner()
        return self._loop.runner

    async def _run(self, id_: UUID, claiming: Any) -> Outcome:
        loop = asyncio.get_running_loop()
        body = _Body(loop, loop.create_task(self.runner.arun(claiming, self._async_journal)))
        self._bodies[id_] = body
        try:
            outcome = await body.task
        finally:
            del self._bodies[id_]
        return outcome if body.expiry is None else await body.expiry

    def told(self, id_: UUID, answer: bool | None) -> None:  # noqa: FBT001  # the heartbeat's signature
        """Hear from the heartbeat, in a process whose bodies are its own threads: a body learns at its next call."""
        for attempt in self.runner.running.attempts():
            if attempt.claim.id == id_:
                if answer is None:
                    attempt.end("the lease went to a newer attempt, or the execution is over")
                    self._stop_async(id_)
                else:
                    attempt.cancel_requested = True

    def held(self) -> list[UUID]:
        """The executions whose bodies run here."""
        return [attempt.claim.id for attempt in self.runner.running.attempts() if attempt.over is None]

    def stuck(self) -> int:
        """Bodies that run on though their attempt is over."""
        return sum(attempt.over is not None for attempt in self.runner.running.attempts())

    def expire_overdue(self) -> None:
        """End the attempts that are past their time limit, where nothing can kill their threads."""
        self.runner.expire_overdue()
        for attempt in self.runner.running.attempts():
            if attempt.over is not None:
                self._stop_async(attempt.claim.id)

    def _stop_async(self, id_: UUID) -> None:
        body = self._bodies.get(id_)
        if body is not None:
            body.loop.call_soon_threadsafe(body.task.cancel)

    def take_soft_limits(self) -> None:
        """Handle the prefork pool's signal for a soft time limit; billiard sets its own after Celery's signals."""
        if self._pid == os.getpid() and signal.getsignal(_SOFT_LIMIT) != self._on_soft_limit:
            signal.signal(_SOFT_LIMIT, self._on_soft_limit)

    def _on_soft_limit(self, _number: int, _frame: FrameType | None) -> None:
        """End the body by an exception; never the claim before it or the record after it."""
        if not self._executing:
            raise SoftTimeLimitExceeded
        for attempt in self.runner.running.attempts():
            if self._on_terminate is None:
                # What ends a body that outlives its limit: billiard would raise SystemExit in it, as its last words.
                self._on_terminate = signal.signal(signal.SIGTERM, signal.SIG_DFL)
            body = self._bodies.get(attempt.claim.id)
            if body is None:
                raise TimeLimitExceeded(f"{attempt.claim.task} ran longer than its time limit.")
            body.loop.call_soon_threadsafe(self._expire_async, attempt, body)

    def _expire_async(self, attempt: Attempt, body: _Body) -> None:
        """Record the failure on another thread, and cancel the body; it learns by `CancelledError`."""
        if body.expiry is None and attempt in self.runner.running.attempts():
            body.expiry = body.loop.run_in_executor(None, self.runner.expire, attempt)
            attempt.end("the time limit is over")
            body.task.cancel()

    def hand_back_all(self) -> int:
        """Queue again what threads still run; their bodies end at their next context call. Answers how many."""
        left = self.runner.running.attempts()
        for attempt in left:
            attempt.end("the process ends")
        ids = [attempt.claim.id for attempt in left]
        return ledger.execute(rows.hand_back(ids, worker=self.worker)) if ids else 0

    def close(self) -> None:
        """Close what this thread holds."""
        ledger.close()
