"""The relay: sends what a row says should be on its way and is not.

Never sent, deferred until now, due for a retry or after a sleep, lost on the way, lease run out. It uses the same
`Engine.submit` as the fast path. Any number may run: rows are taken with `SKIP LOCKED`.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tandem.configuration import Configuration
from tandem.engines.base import Engine
from tandem.lane import BATCH, Lane
from tandem.ledger import connection as ledger
from tandem.ledger import endings, manual, statements
from tandem.ledger import relaying as agenda
from tandem.ledger.identity import process_name
from tandem.loops import Loop, Watch

__all__ = ["Relay"]

logger = logging.getLogger("tandem.relay")

_SLOW: Final = 1 / 3


@dataclass(kw_only=True)
class Relay:
    """One relay process: a lane for each engine, and what needs the ledger alone; `watch` hears how they fare.

    It takes over nothing for one full lease after its start, after a statement of its own failed, or after one took
    over a third of a lease: a database that was frozen must not look like dead workers. An engine that fails or is
    slow is no such reason.
    """

    configuration: Configuration
    engines: Mapping[str, Engine]
    name: str = field(default_factory=lambda: process_name("relay"))
    watch: Watch = field(default_factory=Watch)
    _loop: Loop = field(init=False)
    _lanes: Sequence[Lane] = field(init=False)
    _patient_until: float = 0.0
    _seen_at: float = float("-inf")

    def __post_init__(self) -> None:
        self._lanes = [
            Lane(configuration=self.configuration, engine=engine, watch=self.watch) for engine in self.engines.values()
        ]
        self._loop = Loop(
            name="The relay",
            round=self._tend,
            pause=self.configuration.relay_seconds,
            patience=self.configuration.lease_seconds,
            watch=self.watch,
            last=ledger.close,
        )
        self._wait_a_lease()

    def start(self) -> None:
        """Go round in the background until `stop`."""
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        """End after the current statements; another relay, or the next start, goes on from the ledger."""
        for loop in self._loops:
            loop.stop()
        for loop in self._loops:
            loop.stop(within=self.configuration.lease_seconds)

    def round(self) -> None:
        """Go round once in this thread. Raises `LedgerUnavailable`."""
        self._tend()
        for lane in self._lanes:
            lane.round()

    @property
    def _loops(self) -> Sequence[Loop]:
        return [self._loop, *(lane.loop for lane in self._lanes)]

    def _tend(self) -> float:
        """Do what needs no engine: be known, take over what is left behind, forget old keys."""
        started, tended = time.monotonic(), False
        try:
            self._keep(started)
            tended = True
        finally:
            took = time.monotonic() - started
            if took > self.configuration.lease_seconds * _SLOW:
                logger.warning("A round of the relay took %.1f s; it takes nothing over for a lease.", took)
            if not tended or took > self.configuration.lease_seconds * _SLOW:
                self._wait_a_lease()
        return self.configuration.relay_seconds

    def _keep(self, started: float) -> None:
        if started - self._seen_at >= self.configuration.lease_seconds / 3:
            self._beat()
            ledger.execute(manual.forget_workers())
            self._seen_at = started
        if started >= self._patient_until:
            for engine, queue in ledger.execute(agenda.queues()):
                if engine == "celery":
                    self._requeue_expired(engine, queue)

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
                leases=(),
                seconds=self.configuration.lease_seconds,
            )
        )

    def _requeue_expired(self, engine: str, queue: str) -> None:
        most = self.configuration.max_lost_leases
        taken = ledger.execute(agenda.requeue_expired(engine=engine, queue=queue, most=most, limit=BATCH))
        endings.log_requeued(taken, lost="its lease", logger=logger)
