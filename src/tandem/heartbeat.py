"""The attempts that run in this process, and the one statement that keeps all their leases."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from tandem.attempt import Attempt
from tandem.ledger import connection as ledger
from tandem.ledger import statements

__all__ = ["Heartbeat", "Running"]

logger = logging.getLogger("tandem.heartbeat")


class Running:
    """The attempts whose bodies run in this process, by execution id; safe to use from several threads."""

    def __init__(self) -> None:
        self._attempts: dict[UUID, Attempt] = {}
        self._lock = threading.Lock()

    def add(self, attempt: Attempt) -> None:
        """Enter an attempt; an older one of the same execution is over from now on."""
        with self._lock:
            older = self._attempts.get(attempt.claim.id)
            self._attempts[attempt.claim.id] = attempt
        if older is not None:
            older.end("a newer attempt of the same execution started in this process")

    def remove(self, attempt: Attempt) -> None:
        """Leave; where a newer attempt took the place, that one stays."""
        with self._lock:
            if self._attempts.get(attempt.claim.id) is attempt:
                del self._attempts[attempt.claim.id]

    def get(self, id_: UUID) -> Attempt | None:
        """The attempt of an execution that runs here."""
        return self._attempts.get(id_)

    def attempts(self) -> list[Attempt]:
        """A copy of what runs now."""
        with self._lock:
            return list(self._attempts.values())

    def __len__(self) -> int:
        return len(self._attempts)


@dataclass(kw_only=True)
class Heartbeat:
    """Renews every lease of one process three times a lease, in one statement, from a thread of its own.

    `held` names what runs here (in the prefork parent that is its children's); `told` hears of each execution that
    is no longer held (`None`) or was asked to cancel (`True`); `overdue` is called every second to end what is past
    its time limit, `turn` to say that the thread goes on. A database that is down is logged and tried again at
    the next beat: the leases run out meanwhile, and the fence keeps what is late from counting.
    """

    worker: str
    kind: str
    engine: str
    queues: Sequence[str]
    concurrency: int
    lease: float
    held: Callable[[], Iterable[UUID]]
    told: Callable[[UUID, bool | None], None]
    stuck: Callable[[], int] = lambda: 0
    overdue: Callable[[], object] = lambda: None
    turn: Callable[[], None] = lambda: None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Beat once, so that the worker is known before it takes work, then go on in the background.

        A database that is down now is logged, like at any later beat.
        """
        try:
            self.beat()
        except psycopg.Error:
            logger.warning("The first heartbeat of %s failed; the next follows in %.1f s.", self.worker, self.lease / 3)
        self._thread = threading.Thread(target=self._loop, name="tandem-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is still held keeps its lease until that runs out."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=self.lease)

    def beat(self) -> None:
        """Send one heartbeat and tell what it answered."""
        ids = list(self.held())
        held = ledger.execute(
            statements.heartbeat(
                worker=self.worker,
                kind=self.kind,
                engine=self.engine,
                queues=self.queues,
                concurrency=self.concurrency,
                stuck=self.stuck(),
                ids=ids,
                lease=self.lease,
            )
        )
        for id_ in ids:
            answer = held.get(id_)
            if answer is None:
                self.told(id_, None)
            elif answer[1]:
                self.told(id_, True)

    def _loop(self) -> None:
        interval = self.lease / 3
        next_beat = time.monotonic() + interval
        while not self._stop.wait(max(0.0, min(1.0, next_beat - time.monotonic()))):
            started = time.monotonic()
            self.turn()
            try:
                self.overdue()
                if started < next_beat:
                    continue
                next_beat = started + interval
                self.beat()
            except psycopg.Error:
                logger.warning("A heartbeat of %s failed; the next follows in %.1f s.", self.worker, interval)
            took = time.monotonic() - started
            if took > interval:
                logger.warning("A heartbeat of %s took %.1f s of a lease of %.1f s.", self.worker, took, self.lease)
        ledger.close()
