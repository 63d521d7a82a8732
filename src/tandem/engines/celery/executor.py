"""Running executions in one process: a prefork child, or a worker whose pool is threads."""

import asyncio
import contextvars
import logging
import os
import signal
import threading
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final
from uuid import UUID

import psycopg
from billiard.common import terminate_handler_fired
from celery.exceptions import SoftTimeLimitExceeded, WorkerShutdown, WorkerTerminate

from tandem.engines.celery.durable import CeleryDurable
from tandem.engines.celery.seats import Seat
from tandem.execution.attempt import Attempt
from tandem.execution.runner import Outcome, Runner
from tandem.ledger import connection as ledger
from tandem.ledger.hot import claims
from tandem.ledger.relaying import brokered

__all__ = ["SOFT_LIMIT", "Process", "ends_process"]

logger = logging.getLogger("tandem.celery")

SOFT_LIMIT: Final = signal.SIGUSR1


def ends_process(error: BaseException) -> bool:
    """Whether a pool's own handler of a signal raised `error` in a body, to end the process; the body did not fail.

    billiard marks that its handler ran, and whatever the body makes of its SystemExit comes after it. A body's own
    `sys.exit()` is its failure.
    """
    return terminate_handler_fired() or isinstance(error, WorkerShutdown | WorkerTerminate)


class _Loop(threading.local):
    runner: asyncio.Runner | None = None


@dataclass(kw_only=True)
class Process:
    """Claims, runs and records; async bodies run on a loop that each thread keeps. `seat` is a prefork child's."""

    runner: Runner
    worker: str
    seat: Seat | None = None
    _pid: int = field(default_factory=os.getpid)
    _loop: _Loop = field(default_factory=_Loop)
    _executing: bool = False
    _asynchronous: bool = False
    _overdue: Attempt | None = None
    _on_terminate: Any = None

    def execute(self, id_: UUID, *, asynchronous: bool) -> Outcome:
        """Run one attempt of an execution.

        A ledger that cannot be reached is logged and answered as `refused`: the message is gone, and the relay sends
        the row again once its claim, or its lease, is a lease old. Raises what ended the process, once the execution
        is requeued; a prefork child leaves that to its parent, for anybody may have sent it that signal.
        """
        claiming = claims.claim(id=id_, engine="celery", worker=self.worker, lease=self.runner.lease_seconds)
        durable = CeleryDurable(self.seat)
        if self.seat is not None:
            self.seat.claim(id_)
        self._executing, self._asynchronous, kept = True, asynchronous, False
        try:
            if asynchronous:
                # A loop's own context would be one for all its bodies.
                return self._own_loop().run(self.runner.arun(claiming, durable), context=contextvars.copy_context())
            return self.runner.run(claiming, durable)
        except psycopg.Error as error:
            logger.error("The ledger did not answer for %s (%s); the relay sends it again.", id_, error)  # noqa: TRY400
            return Outcome(kind="refused", error=str(error))
        except BaseException as error:
            if ends_process(error):
                kept = self._leave(durable.attempt)
            raise
        finally:
            self._executing = False
            if self.seat is not None and not kept:
                self.seat.leave()
            if self._on_terminate is not None:
                signal.signal(signal.SIGTERM, self._on_terminate)
                self._on_terminate = None

    def _leave(self, attempt: Attempt | None) -> bool:
        """Leave what this process ran; True where it is the parent's, a claim whose answer did not come among it."""
        if attempt is not None:
            attempt.end("the process ends")
        # The signal may have come in the middle of a statement.
        ledger.close()
        if self.seat is not None:
            self.seat.signalled()
            return True
        if attempt is not None:
            try:
                ledger.execute(brokered.requeue([attempt.lease]))
            except psycopg.Error as error:
                logger.warning("%s could not be requeued (%s); its lease runs out.", attempt.lease.id, error)
        return False

    def _own_loop(self) -> asyncio.Runner:
        if self._loop.runner is None:
            self._loop.runner = asyncio.Runner()
        return self._loop.runner

    def stuck(self) -> int:
        """Bodies that run on though their attempt is over."""
        return sum(attempt.over is not None for attempt in self.runner.active.attempts())

    def take_soft_limits(self) -> None:
        """Handle the prefork pool's signal for a soft time limit; billiard sets its own after Celery's signals."""
        if self._pid == os.getpid() and signal.getsignal(SOFT_LIMIT) != self._on_soft_limit:
            signal.signal(SOFT_LIMIT, self._on_soft_limit)

    def _on_soft_limit(self, _number: int, _frame: FrameType | None) -> None:
        """End the body by an exception; never the claim before it or the record after it.

        Celery's clock starts before the body's: where that is not over, the parent signals again when it is.
        """
        if not self._executing:
            raise SoftTimeLimitExceeded
        for attempt in self.runner.overdue():
            if attempt is self._overdue:
                continue
            self._overdue = attempt
            if self._on_terminate is None:
                # What ends a body that outlives its limit: billiard would raise SystemExit in it, as its last words.
                self._on_terminate = signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if not self._asynchronous:
                raise attempt.limit_exceeded()
            attempt.overran = True
            attempt.rouse()

    def requeue_all(self) -> int:
        """Queue again what threads still run; their bodies end at their next context call. Answers how many."""
        left = self.runner.active.attempts()
        for attempt in left:
            attempt.stop("the process ends")
        return ledger.execute(brokered.requeue([attempt.lease for attempt in left])) if left else 0

    def close(self) -> None:
        """Close what this thread holds."""
        ledger.close()
