"""The attempts that run in this process, and the one statement that keeps all their leases."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from tandem.execution.attempt import Attempt
from tandem.ledger import connection as ledger
from tandem.ledger.hot import claims
from tandem.ledger.rows import Lease
from tandem.probes.loops import Loop, Watch

__all__ = ["LOST", "ActiveAttempts", "Heartbeat"]

logger = logging.getLogger("tandem.heartbeat")


LOST: Final = "the lease went to a newer attempt, or the execution is over"


class ActiveAttempts:
    """The attempts whose bodies run in this process, by their leases; safe to use from several threads.

    Reading takes no lock, so that a signal handler may, whatever its thread was doing: each change makes a new mapping.
    """

    def __init__(self) -> None:
        self._attempts: Mapping[Lease, Attempt] = {}
        self._lock = threading.Lock()

    def add(self, attempt: Attempt) -> None:
        """Enter an attempt; of two attempts of one execution the older is over from now on."""
        with self._lock:
            same = [other for lease, other in self._attempts.items() if lease.id == attempt.lease.id]
            self._attempts = {**self._attempts, attempt.lease: attempt}
        for older in sorted([*same, attempt], key=lambda each: each.lease.fence)[:-1]:
            older.stop("a newer attempt of the same execution started in this process")

    def remove(self, attempt: Attempt) -> None:
        """Leave."""
        with self._lock:
            self._attempts = {lease: other for lease, other in self._attempts.items() if other is not attempt}

    def attempts(self) -> list[Attempt]:
        """A copy of what runs now."""
        return list(self._attempts.values())

    def leases(self) -> list[Lease]:
        """What is to be renewed: the leases of attempts that are not over."""
        return [lease for lease, attempt in self._attempts.items() if attempt.over is None]

    def lose(self, lease: Lease) -> None:
        """End the attempt of a lease that was lost; its body stops at its next context call."""
        attempt = self._attempts.get(lease)
        if attempt is not None:
            attempt.stop(LOST)

    def cancel(self, lease: Lease) -> None:
        """Have the body hear at its next context call that a cancel was asked for."""
        attempt = self._attempts.get(lease)
        if attempt is not None:
            attempt.cancel_requested = True

    def cancel_of(self, attempt: Attempt) -> Callable[[], object]:
        """How to cancel the current task, an attempt's async body, from any thread, for as long as it runs."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def cancel() -> None:
            if task is not None and attempt.lease in self._attempts:
                task.cancel()

        def rouse() -> None:
            with suppress(RuntimeError):  # The loop has ended, and the body with it.
                loop.call_soon_threadsafe(cancel)

        return rouse

    def __len__(self) -> int:
        return len(self._attempts)


@dataclass(kw_only=True)
class Heartbeat:
    """Renews every lease of one process three times a lease, in one statement, from a thread of its own.

    `leases` names what runs here (in the prefork parent that is its children's). `on_lease_lost` hears of each lease
    that is no longer held, `on_cancel_requested` of each whose execution is to be cancelled: an answer is for the
    lease that was asked about, however late it comes, and for no attempt after it. `overdue` is called every second
    to end what is past its time limit. No error ends it: what failed is said to `watch` and tried again within a
    second. The leases run out meanwhile, and the fence keeps what is late from counting.
    """

    worker: str
    kind: str
    engine: str
    queues: Sequence[str]
    concurrency: int
    lease_seconds: float
    leases: Callable[[], Sequence[Lease]]
    on_lease_lost: Callable[[Lease], object]
    on_cancel_requested: Callable[[Lease], object]
    stuck: Callable[[], int] = lambda: 0
    overdue: Callable[[], object] = lambda: None
    watch: Watch = field(default_factory=Watch)
    _loop: Loop = field(init=False)
    _next_beat: float = 0.0

    def __post_init__(self) -> None:
        self._loop = Loop(
            name=f"The heartbeat of {self.worker}",
            round=self._round,
            pause=min(1.0, self.lease_seconds / 3),
            patience=self.lease_seconds,
            watch=self.watch,
            last=ledger.close,
        )

    def start(self) -> None:
        """Beat once, so that the worker is known before it takes work, then go on in the background.

        A ledger that is away now is logged, like at any later beat.
        """
        self._loop.turn()
        self._loop.start()

    def stop(self) -> None:
        """End the thread; what is still held keeps its lease until that runs out."""
        self._loop.stop(within=self.lease_seconds)

    def beat(self) -> None:
        """Send one heartbeat and hand on what it answered."""
        leases = self.leases()
        held = ledger.execute(
            claims.heartbeat(
                worker=self.worker,
                kind=self.kind,
                engine=self.engine,
                queues=self.queues,
                concurrency=self.concurrency,
                stuck=self.stuck(),
                leases=leases,
                seconds=self.lease_seconds,
            )
        )
        for lease in leases:
            with self._loop.guarded(f"What the heartbeat said of {lease.id}"):
                if lease not in held:
                    self.on_lease_lost(lease)
                elif held[lease]:
                    self.on_cancel_requested(lease)

    def _round(self) -> float:
        started = time.monotonic()
        with self._loop.guarded(f"{self._loop.name}: ending what is past its time limit"):
            self.overdue()
        if time.monotonic() >= self._next_beat:
            self.beat()
            # A beat that failed is due again with the next round.
            self._next_beat = started + self.lease_seconds / 3
        took = time.monotonic() - started
        if took > self.lease_seconds / 3:
            logger.warning("A heartbeat of %s took %.1f s of a lease of %.1f s.", self.worker, took, self.lease_seconds)
        return max(0.0, min(1.0, self._next_beat - time.monotonic()))
