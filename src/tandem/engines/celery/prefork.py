"""The prefork parent: it keeps its children's leases, kills a child that will not stop, reaps those that died.

The children cannot do it themselves: a body that holds the GIL silences every thread of its process.
"""

import logging
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from tandem.engines.celery.executor import SOFT_LIMIT
from tandem.engines.celery.seats import Held, Seats
from tandem.exceptions import LedgerUnavailable
from tandem.execution.attempt import Attempt
from tandem.execution.runner import Runner
from tandem.ledger import connection as ledger
from tandem.ledger import endings
from tandem.ledger.relaying import backlog, brokered
from tandem.ledger.rows import Lease
from tandem.probes.loops import Loop, Watch

__all__ = ["PreforkSupervisor"]

logger = logging.getLogger("tandem.celery")

_LOOK_SECONDS: Final = 0.2
_STOP_SECONDS: Final = 10.0
# A signal to the whole process group reaches a child first: so long its parent may take to hear of it.
_SIGNAL_SECONDS: Final = 1.0

_LOST: Final = "lost its lease"
_CANCELLED: Final = "was cancelled"
_OVERDUE: Final = "is past its time limit"


@dataclass(kw_only=True)
class PreforkSupervisor:
    """What the parent of a prefork pool does beside Celery, in a thread of its own.

    A child's death is seen in its seat and nowhere else, so it is reaped once, whatever Celery tells of it and how
    often: what it ran is sent again, or fails by its task's policy where its time limit was over.
    """

    runner: Runner
    pool: Any
    grace: float
    seats: Seats
    watch: Watch = field(default_factory=Watch)
    ending: bool = False
    _to_kill: dict[Lease, tuple[float, str]] = field(default_factory=dict)
    _signalled: set[Lease] = field(default_factory=set)
    _signalled_at: dict[Lease, float] = field(default_factory=dict)
    _loop: Loop = field(init=False)

    def __post_init__(self) -> None:
        self._loop = Loop(
            name="Looking after the children",
            round=self._look,
            patience=self.runner.lease_seconds,
            watch=self.watch,
            last=self._end,
        )

    def start(self) -> None:
        """Start the thread that looks after the children."""
        self._loop.start()

    def stop(self) -> None:
        """Reap what dead children left, and end."""
        self._loop.stop(within=_STOP_SECONDS)

    # --- for the heartbeat ---------------------------------------------------------------------------------------

    def leases(self) -> list[Lease]:
        """What children run now."""
        return [held.lease for held in self.seats.held() if held.lease.fence]

    def lose(self, lease: Lease) -> None:
        """Hear that a lease is lost: its body has `grace` seconds to stop, which it learns at its next context call."""
        self._to_kill.setdefault(lease, (time.monotonic(), _LOST))

    def cancel(self, lease: Lease) -> None:
        """As `lose`, of one whose execution is to be cancelled."""
        self._to_kill.setdefault(lease, (time.monotonic(), _CANCELLED))

    # --- its own thread ------------------------------------------------------------------------------------------

    def _end(self) -> None:
        try:
            self._look()
        finally:
            ledger.close()

    def _look(self) -> float:
        """Kill the children whose grace is over, and reap those that died. What failed is tried again."""
        with self._loop.guarded("Signalling a child that is past its time limit"):
            self._signal_overdue()
        with self._loop.guarded("Killing a child that does not stop"):
            self._kill_overdue()
        for held in self.seats.left():
            if self._may_be_all_that_ends(held):
                continue
            with self._loop.guarded(f"Reaping what a dead child left of {held.lease.id}", but=(LedgerUnavailable,)):
                self._reap(held)
                self.seats.reaped(held)
                self._signalled_at.pop(held.lease, None)
        return _LOOK_SECONDS

    def _may_be_all_that_ends(self, held: Held) -> bool:
        """Whether the signal that ended a child may be on its way to this process, too: then nothing is lost."""
        if self.ending or not held.signalled:
            return False
        now = time.monotonic()
        return now - self._signalled_at.setdefault(held.lease, now) < _SIGNAL_SECONDS

    def _reap(self, held: Held) -> None:
        """Take what a dead child ran: its name is its own, and the ledger's row has it while nobody else took it."""
        dead = held.lease
        if self.ending:
            ledger.execute(brokered.requeue([dead]))
        elif time.monotonic() >= held.deadline:
            claim = ledger.execute(brokered.fence_off(id=dead.id, worker=dead.worker))
            if claim is not None:
                attempt = Attempt(
                    claim=claim,
                    lease_seconds=self.runner.lease_seconds,
                    max_result_bytes=self.runner.max_result_bytes,
                )
                self.runner.expire(attempt)
        else:
            most = self.runner.max_lost_leases
            taken = ledger.execute(backlog.requeue_dead(id=dead.id, worker=dead.worker, most=most))
            endings.log_requeued(taken, lost="its child", logger=logger)

    def _signal_overdue(self) -> None:
        """Tell a child, once, that its body's time limit is over: Celery's own signal came before that.

        Or never: who sent the message may not have known the task. So the child is killed from here as well.
        """
        now, dead = time.monotonic(), {held.lease for held in self.seats.left()}
        over = {held.lease: held.pid for held in self.seats.held() if held.deadline <= now and held.lease not in dead}
        for lease in over.keys() - self._signalled:
            with suppress(ProcessLookupError):
                os.kill(over[lease], SOFT_LIMIT)
            self._to_kill.setdefault(lease, (now, _OVERDUE))
        self._signalled = set(over)

    def _kill_overdue(self) -> None:
        running = {held.lease: held.pid for held in self.seats.held()}
        now = time.monotonic()
        for lease, (since, reason) in list(self._to_kill.items()):
            pid = running.get(lease)
            if pid is None:
                del self._to_kill[lease]
            elif now - since >= self.grace:
                self._kill(lease, pid, reason)
                del self._to_kill[lease]

    def _kill(self, lease: Lease, pid: int, reason: str) -> None:
        logger.warning("%s %s and did not stop in %.1f s; its child %d is killed.", lease.id, reason, self.grace, pid)
        if reason is _CANCELLED:
            for id_, parent in ledger.execute(brokered.cancel_killed(lease)):
                endings.tell_parent(parent)
                endings.announce_elsewhere([id_])
        self.pool.terminate_job(pid, signal.SIGKILL)

    def requeue_all(self) -> None:
        """Queue again what children still run or claim, and kill them: the worker goes down."""
        self.ending = True
        running = self.seats.held()
        if not running:
            return
        handed = ledger.execute(brokered.requeue([held.lease for held in running]))
        logger.warning("%d execution(s) did not end in time and are requeued.", handed)
        for held in running:
            self.pool.terminate_job(held.pid, signal.SIGKILL)
