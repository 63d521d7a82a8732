"""The relay: sends what a row says should be on its way and is not.

Never sent, deferred until now, due for a retry or after a sleep, lost on the way, lease run out. It uses the same
`Engine.submit` as the fast path. Any number may run: rows are taken with `SKIP LOCKED`. Each engine has a lane, on a
thread of its own: another engine's trouble, or slowness, is not this one's.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import batched
from typing import Final, Protocol

from tandem.configuration import Configuration
from tandem.engines.base import Engine, Reference
from tandem.exceptions import BrokerUnavailable, LedgerUnavailable
from tandem.ledger import connection as ledger
from tandem.ledger import endings
from tandem.ledger.hot import claims, inserts
from tandem.ledger.identity import process_name
from tandem.ledger.listener import Listener
from tandem.ledger.operating import pruning
from tandem.ledger.relaying import backlog, outbox
from tandem.ledger.rows import Walked
from tandem.ledger.suspension import wakes
from tandem.probes.loops import Loop, Watch

__all__ = ["BATCH", "Lane", "Relay"]

logger = logging.getLogger("tandem.relay")

BATCH: Final = 1_000
# Of all queues together; of one at least more than a batch, which may have been sent at one and the same time.
_STRETCH: Final = 2_500
_WHOLE: Final = 100_000
_SLOW: Final = 1 / 3
_SCAN_SECONDS: Final = 2.0
# One that an engine fails at, for a reason that is not its server's, is tried again so much later.
_AGAIN_SECONDS: Final = 5.0


class _Named(Protocol):
    @property
    def task(self) -> str: ...


@dataclass(kw_only=True)
class Lane:
    """Sends what is due on one engine, wakes who can go on there, and has it drop what was cancelled."""

    configuration: Configuration
    engine: Engine
    watch: Watch
    loop: Loop = field(init=False)
    _listener: Listener = field(default_factory=Listener)
    _scanned_at: float = float("-inf")

    def __post_init__(self) -> None:
        self.loop = Loop(
            name=f"The relay to {self.engine.name}",
            round=self.round,
            pause=self.configuration.relay_seconds,
            patience=self.configuration.lease_seconds,
            watch=self.watch,
            wait=self._listener.wait,
            last=self._close,
        )

    def round(self) -> float:
        """Go round once, and answer the seconds until the next round. Raises `LedgerUnavailable`.

        What the engine fails at keeps nothing else of the round from being done.
        """
        name = self.engine.name
        started = time.monotonic()
        if started - self._scanned_at >= _SCAN_SECONDS:
            self._scanned_at = started
            with self._part("looking for what was lost"):
                self.engine.find_lost(lease=self.configuration.lease_seconds)
        queues = [queue for engine, queue in ledger.execute(backlog.queues()) if engine == name]
        for queue in queues:
            with self._part("waking"):
                self._wake(queue)
            with self._part("sending"):
                self._send_due(queue)
        with self._part("sending cancellations"):
            self._send_cancellations()
        pause = self.configuration.relay_seconds
        for queue in queues:
            due = ledger.execute(backlog.next_due(engine=name, queue=queue))
            pause = pause if due is None else min(pause, max(0.0, due))
        return max(0.01, pause)

    def _part(self, what: str) -> AbstractContextManager[None]:
        return self.loop.guarded(f"{self.loop.name}: {what}", but=(LedgerUnavailable,))

    def _close(self) -> None:
        self._listener.close()
        ledger.close()

    def _wake(self, queue: str) -> None:
        """Look at who waits, and have those go on that can."""
        waiting = ledger.execute(
            wakes.recheck(engine=self.engine.name, queue=queue, limit=BATCH, sends=not self.engine.holds_waiting)
        )
        ready = [waiter for waiter in waiting if waiter.ready]
        try:
            left = self._halved("waking", self.engine.wake, ready)
        except BrokerUnavailable:
            ledger.execute(wakes.look_again([waiter.id for waiter in ready], seconds=_SCAN_SECONDS))
            raise
        if left:
            ledger.execute(wakes.look_again([waiter.id for waiter in left], seconds=_SCAN_SECONDS))

    def _send_cancellations(self) -> None:
        """Have the engine drop what was cancelled or parked while it held it."""
        pending = ledger.execute(outbox.pending(engine=self.engine.name, limit=BATCH))

        failed = self._halved("cancelling", self.engine.cancel, pending)
        if sent := [row.number for row in pending if row not in failed]:
            ledger.execute(outbox.dropped(sent))

    def _send_due(self, queue: str) -> None:
        """Send batch after batch until nothing is due, or the broker is down: then the rows are due again."""
        name = self.engine.name
        while not self.loop.stopping:
            self.loop.beat()
            epoch = self.engine.epoch()
            due = ledger.execute(
                backlog.take_due(
                    engine=name, queue=queue, phases=self.engine.due_phases, broker_epoch=epoch, limit=BATCH
                )
            )
            if not due:
                return
            self._send(due, epoch)

    def _send(self, batch: Sequence[Reference], epoch: str | None) -> None:
        seen: set[str | None] = set()
        try:
            failed = self._halved("sending", lambda some: seen.add(self.engine.submit(some)), batch)
        except BrokerUnavailable:
            ledger.execute(inserts.mark_unsent([one.id for one in batch]))
            raise
        if failed:
            ledger.execute(inserts.mark_unsent([one.id for one in failed], seconds=_AGAIN_SECONDS))
        for other in seen - {None, epoch}:
            ledger.execute(inserts.mark_sent([one.id for one in batch if one not in failed], other))

    def _halved[T: _Named](
        self, what: str, call: Callable[[Sequence[T]], object], batch: Sequence[T], *, until: float | None = None
    ) -> Sequence[T]:
        """Make a call for a batch, and answer those that it fails at, found by halving for a while.

        Raises `BrokerUnavailable` and `LedgerUnavailable`, which are no fault of what is in the batch.
        """
        if not batch:
            return batch
        until = until or time.monotonic() + _SCAN_SECONDS
        try:
            call(batch)
        except (BrokerUnavailable, LedgerUnavailable):
            raise
        except Exception as error:  # noqa: BLE001  # whatever one of them brings about, the others are not to wait
            if len(batch) == 1 or time.monotonic() > until:
                self.loop.failed(f"{self.loop.name}: {what} {batch[0].task}", error)
                return batch
        else:
            return ()
        half = len(batch) // 2
        return [
            *self._halved(what, call, batch[:half], until=until),
            *self._halved(what, call, batch[half:], until=until),
        ]


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
    _takeover_paused_until: float = 0.0
    _seen_at: float = float("-inf")
    _walked: dict[tuple[str, str], tuple[datetime | None, datetime] | None] = field(default_factory=dict)

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
        self._pause_takeover()

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
                self._pause_takeover()
        return self.configuration.relay_seconds

    def _keep(self, started: float) -> None:
        if started - self._seen_at >= self.configuration.lease_seconds / 3:
            self._beat()
            ledger.execute(pruning.forget_workers())
            self._seen_at = started
        if started >= self._takeover_paused_until:
            ours = {name for name, engine in self.engines.items() if not engine.resumes}
            queues = [(name, queue) for name, queue in ledger.execute(backlog.queues()) if name in ours]
            # Who has just died, or while this relay looked at nothing, may have run what overtook a long backlog.
            lease = self.configuration.lease_seconds
            just_began = started < self._takeover_paused_until + lease
            whole = just_began or ledger.execute(backlog.somebody_fell_silent(lease=lease))
            stretch = max(BATCH + 1, (_WHOLE if whole else _STRETCH) // max(1, len(queues)))
            for name, queue in queues:
                self._requeue_expired(name, queue, stretch=stretch)

    def _pause_takeover(self) -> None:
        self._takeover_paused_until = time.monotonic() + self.configuration.lease_seconds

    def _beat(self) -> None:
        ledger.execute(
            claims.heartbeat(
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

    def _requeue_expired(self, engine: str, queue: str, *, stretch: int) -> None:
        """Take from the oldest that were sent, where what runs is, and from a stretch of a long backlog behind them."""
        oldest = self._expired(engine, queue, after=None, limit=BATCH)
        if oldest.rows < BATCH:
            return
        place = engine, queue
        # A walk ends where it began, however much is enqueued meanwhile.
        after, until = self._walked.get(place) or (oldest.last, oldest.at)
        walked = self._expired(engine, queue, after=after, limit=stretch)
        is_round = walked.last is None or walked.rows < stretch or walked.last >= until
        self._walked[place] = None if is_round else (walked.last, until)

    def _expired(self, engine: str, queue: str, *, after: datetime | None, limit: int) -> Walked:
        walked = ledger.execute(backlog.expired(engine=engine, queue=queue, after=after, limit=limit))
        for ids in batched(walked.ids, BATCH):
            taken = ledger.execute(backlog.requeue_expired(ids, most=self.configuration.max_lost_leases))
            endings.log_requeued(taken, lost="its lease", logger=logger)
        return walked
