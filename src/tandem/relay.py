"""The relay: sends what a row says should be on its way and is not.

Never sent, deferred until now, due for a retry or after a sleep, lost on the way, lease run out. It uses the same
`Engine.submit` as the fast path. Any number may run: rows are taken with `SKIP LOCKED`.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg

from tandem.configuration import Configuration
from tandem.engines.base import Engine, Reference
from tandem.exceptions import BrokerUnavailable
from tandem.ledger import agenda, cancel, endings, manual, statements, waking
from tandem.ledger import connection as ledger
from tandem.ledger.bell import Bell

__all__ = ["Relay"]

logger = logging.getLogger("tandem.relay")

BATCH: Final = 1_000
_SWEEP_SECONDS: Final = 2.0
_PRUNE_SECONDS: Final = 60.0
_SLOW: Final = 1 / 3

# Restate drives its own retries and sleeps; only what is to be sent anew is due for the relay there.
_DUE_PHASES: Final[Mapping[str, Sequence[str]]] = {
    "celery": ("queued", "deferred", "retrying", "sleeping"),
    "restate": ("queued", "deferred"),
}


@dataclass(kw_only=True)
class Relay:
    """One relay process; `turn` is called at each round.

    It takes over nothing for one full lease after its start, after a statement of its own failed, or after one took
    over a third of a lease: a database that was frozen must not look like dead workers.
    """

    configuration: Configuration
    engines: Mapping[str, Engine]
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:relay")
    turn: Callable[[], None] = lambda: None
    _stop: threading.Event = field(default_factory=threading.Event)
    _bell: Bell = field(default_factory=Bell)
    _patient_until: float = 0.0
    _swept_at: float = float("-inf")
    _seen_at: float = float("-inf")
    _pruned_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._wait_a_lease()

    def run(self) -> None:
        """Go round until `stop`; what fails is logged and tried again in the next round."""
        while not self._stop.is_set():
            pause = self.configuration.relay_seconds
            self.turn()
            try:
                pause = self.round()
            except psycopg.Error as error:
                self._wait_a_lease()
                logger.warning("The relay's round failed (%s); the next follows in %.1f s.", error, pause)
            self._wait(pause)
        self._bell.close()
        ledger.close()

    def stop(self) -> None:
        """End after the current statement; another relay, or the next start, goes on from the ledger."""
        self._stop.set()

    def _wait(self, seconds: float) -> None:
        """Wait until something is due at once, or for so long."""
        if not self._bell.wait(seconds):
            self._stop.wait(seconds)

    def round(self) -> float:
        """Go round once, and answer the seconds until the next round."""
        started = time.monotonic()
        if started - self._seen_at >= self.configuration.lease_seconds / 3:
            self._beat()
            self._seen_at = started
        if started - self._swept_at >= _SWEEP_SECONDS:
            self._sweep()
            self._swept_at = started
        pairs = ledger.execute(agenda.queues())
        patient = time.monotonic() < self._patient_until
        for engine, queue in pairs:
            if engine == "celery" and not patient:
                self._take_over(engine, queue)
            if engine in self.engines:
                self._wake(engine, queue)
                self._send_due(engine, queue)
        for told in self.engines.values():
            self._tell(told)
        if started - self._pruned_at >= _PRUNE_SECONDS:
            ledger.execute(manual.expire_keys(days=self.configuration.idempotency_days, limit=BATCH))
            self._pruned_at = started
        return self._pause(pairs, time.monotonic() - started)

    def _pause(self, pairs: Sequence[tuple[str, str]], took: float) -> float:
        if took > self.configuration.lease_seconds * _SLOW:
            self._wait_a_lease()
            logger.warning("A round of the relay took %.1f s; it takes nothing over for a lease.", took)
        pause = self.configuration.relay_seconds
        for engine, queue in pairs:
            due = ledger.execute(agenda.next_due(engine=engine, queue=queue))
            pause = pause if due is None else min(pause, max(0.0, due))
        return max(0.01, pause)

    def _wait_a_lease(self) -> None:
        self._patient_until = time.monotonic() + self.configuration.lease_seconds

    def _beat(self) -> None:
        ledger.execute(
            statements.heartbeat(
                worker=self.name,
                kind="relay",
                engine="",
                queues=(),
                concurrency=1,
                stuck=0,
                ids=(),
                lease=self.configuration.lease_seconds,
            )
        )

    def _sweep(self) -> None:
        for engine in self.engines.values():
            try:
                lost = engine.sweep(lease=self.configuration.lease_seconds)
            except BrokerUnavailable as error:
                logger.warning("%s", error)
                continue
            if lost:
                logger.warning("%d execution(s) were lost on the way to %s and are sent again.", lost, engine.name)

    def _take_over(self, engine: str, queue: str) -> None:
        most = self.configuration.max_lost_leases
        taken = ledger.execute(agenda.take_over(engine=engine, queue=queue, most=most, limit=BATCH))
        endings.settle(taken, lost="its lease", logger=logger)

    def _wake(self, name: str, queue: str) -> None:
        """Look at who waits, and have those go on that can."""
        waiting = ledger.execute(waking.recheck(engine=name, queue=queue, limit=BATCH))
        ready = [waiter for waiter in waiting if waiter.ready]
        if not ready:
            return
        try:
            self.engines[name].wake(ready)
        except BrokerUnavailable as error:
            logger.warning("%s %d execution(s) that could go on wait for it.", error, len(ready))
            ledger.execute(waking.look_again([waiter.id for waiter in ready], seconds=_SWEEP_SECONDS))

    def _tell(self, engine: Engine) -> None:
        """Tell an engine to give up what was cancelled or parked while it held it."""
        untold = ledger.execute(cancel.untold(engine=engine.name, limit=BATCH))
        if not untold:
            return
        try:
            engine.cancel(
                [
                    Reference(
                        id=row.id, task=row.task, queue="", priority=0, dispatch=row.dispatch, invocation=row.invocation
                    )
                    for row in untold
                ]
            )
        except BrokerUnavailable as error:
            logger.warning("%s %d execution(s) that are over stay there until it is told.", error, len(untold))
            return
        ledger.execute(cancel.told([row.nudge for row in untold]))

    def _send_due(self, name: str, queue: str) -> None:
        """Send batch after batch until nothing is due, or the broker is down: then the rows are due again."""
        engine = self.engines[name]
        while not self._stop.is_set():
            epoch = engine.epoch()
            due = ledger.execute(
                agenda.take_due(engine=name, queue=queue, phases=_DUE_PHASES[name], epoch=epoch, limit=BATCH)
            )
            if not due:
                return
            batch = [
                Reference(
                    id=row.id, task=row.task, queue=row.queue, priority=row.priority, dispatch=row.dispatch, epoch=epoch
                )
                for row in due
            ]
            try:
                seen = engine.submit(batch)
            except BrokerUnavailable as error:
                logger.warning("%s %d execution(s) wait for it.", error, len(batch))
                ledger.execute(statements.unsent([row.id for row in due]))
                return
            if seen is not None and seen != epoch:
                ledger.execute(statements.sent([row.id for row in due], seen))
