"""The prefork parent: it keeps its children's leases, kills a child that will not stop, settles for one that died.

The children cannot do it themselves: a body that holds the GIL silences every thread of its process.
"""

import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker import state

from tandem.attempt import Attempt
from tandem.engines.celery.app import ExecutionTask, is_execution
from tandem.ledger import agenda, endings
from tandem.ledger import celery as statements
from tandem.ledger import connection as ledger
from tandem.runner import Runner

__all__ = ["Parent"]

logger = logging.getLogger("tandem.celery")

type _Key = tuple[UUID, int, float]


@dataclass(slots=True)
class _Doomed:
    """A request whose body must end: since when, at which beat this was last said, and whether it was cancelled."""

    since: float
    beat: int
    cancelled: bool


@dataclass(kw_only=True)
class Parent:
    """What the parent of a prefork pool does beside Celery. Its ledger work is done off Celery's event loop."""

    runner: Runner
    pool: Any
    grace: float
    _jobs: queue.SimpleQueue[Callable[[], None] | None] = field(default_factory=queue.SimpleQueue)
    _doomed: dict[_Key, _Doomed] = field(default_factory=dict)
    _released: set[_Key] = field(default_factory=set)
    _beat: int = 0
    _pid: int = field(default_factory=os.getpid)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread that settles what children left."""
        self._thread = threading.Thread(target=self._settle, name="tandem-settle", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Settle what is queued, and end."""
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join(timeout=10)

    # --- for the heartbeat ---------------------------------------------------------------------------------------

    def held(self) -> list[UUID]:
        """The executions that children run now."""
        self._beat += 1
        return list({key[0] for key in _active()})

    def told(self, id_: UUID, answer: bool | None) -> None:  # noqa: FBT001  # the heartbeat's signature
        """Hear that an execution was cancelled, or that its lease is lost.

        The body has `grace` seconds to stop by itself, which it learns at its next context call. A request that has
        not claimed yet, or ended just now, is told to be lost too: it is gone by then.
        """
        for key in _active():
            if key[0] == id_:
                doomed = self._doomed.setdefault(
                    key, _Doomed(since=time.monotonic(), beat=self._beat, cancelled=bool(answer))
                )
                doomed.beat, doomed.cancelled = self._beat, bool(answer)

    def look_after(self) -> None:
        """Release what a dead child held, and kill the children whose grace is over; about once a second.

        Celery notices most deaths at once, but some only at its next look, up to 5 s later.
        """
        accepted = _accepted()
        dead = {key for key in accepted if _has_exited(key[1])}
        for key in dead - self._released:
            self._release(key[0])
        self._released = dead
        self._kill_overdue(accepted - dead)

    def _kill_overdue(self, active: set[_Key]) -> None:
        now = time.monotonic()
        for key, doomed in list(self._doomed.items()):
            if key not in active or doomed.beat != self._beat:
                del self._doomed[key]
            elif now - doomed.since >= self.grace:
                del self._doomed[key]
                self._kill(key, cancelled=doomed.cancelled)

    def _kill(self, key: _Key, *, cancelled: bool) -> None:
        id_, pid, _ = key
        reason = "was cancelled" if cancelled else "lost its lease"
        logger.warning("%s %s and did not stop in %.1f s; its child %d is killed.", id_, reason, self.grace, pid)
        self.pool.terminate_job(pid, signal.SIGKILL)
        if cancelled:
            endings.tell_parent(ledger.execute(statements.cancel_killed(id=id_, worker=self.runner.worker)))

    # --- for Celery's signals, on its event loop -----------------------------------------------------------------

    def failed(self, sender: object, task_id: str, exception: BaseException) -> None:
        """Hear of a request that ended without its child saying so."""
        if os.getpid() != self._pid or not isinstance(sender, ExecutionTask) or not is_execution(task_id):
            return
        id_ = UUID(task_id)
        if isinstance(exception, TimeLimitExceeded):
            self._jobs.put(lambda: self._expire(id_))
        elif isinstance(exception, WorkerLostError):
            self._jobs.put(lambda: self._release(id_))

    def _settle(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except psycopg.Error as error:
                logger.warning("What a lost child left could not be settled (%s); its lease runs out.", error)
        ledger.close()

    def _release(self, id_: UUID) -> None:
        """Take over what a child that died ran, unless another child runs the same execution."""
        if any(key[0] == id_ for key in _active()):
            return
        most = self.runner.max_lost_leases
        taken = ledger.execute(agenda.take_from_dead(id=id_, worker=self.runner.worker, most=most))
        endings.settle(taken, lost="its child", logger=logger)

    def _expire(self, id_: UUID) -> None:
        """Record the failure of a body that was killed at its hard time limit, by its task's policy."""
        claim = ledger.execute(statements.take_from_child(id=id_, worker=self.runner.worker))
        if claim is not None:
            attempt = Attempt(
                claim=claim,
                worker=self.runner.worker,
                lease=self.runner.lease,
                max_result_bytes=self.runner.max_result_bytes,
            )
            self.runner.expire(attempt)

    def hand_back_all(self) -> None:
        """Queue again what children still run, and kill them: the worker goes down."""
        running = _active()
        if not running:
            return
        handed = ledger.execute(statements.hand_back([key[0] for key in running], worker=self.runner.worker))
        logger.warning("%d execution(s) did not end in time and are handed back.", handed)
        for _, pid, _ in running:
            self.pool.terminate_job(pid, signal.SIGKILL)


def _active() -> set[_Key]:
    """The requests of ours that living children run."""
    return {key for key in _accepted() if not _has_exited(key[1])}


def _accepted() -> set[_Key]:
    """The requests of ours that Celery takes to run: execution, child, and since when."""
    while True:
        try:
            requests = list(state.active_requests)
            break
        except RuntimeError:
            # Celery's event loop added one meanwhile.
            continue
    return {
        (UUID(request.id), request.worker_pid, request.time_start)
        for request in requests
        if isinstance(request.task, ExecutionTask) and is_execution(request.id)
    }


def _has_exited(pid: int) -> bool:
    """Whether a child is dead, without taking its exit status from Celery."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
