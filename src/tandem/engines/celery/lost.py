"""Finding what was sent and is no longer on its way.

Three signs, and none of them is age: the broker lost its data (its epoch changed), its server restarted and may
have come back with old data (so the epoch is changed), or a row is older than what stands at the head of its list
and nobody has claimed it for a lease. A long backlog that is still there shows none.
"""

import logging
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import redis

from tandem.engines.celery.client import BrokerClient
from tandem.engines.celery.lists import Band, Lists
from tandem.engines.celery.message import id_of
from tandem.ledger import connection as ledger
from tandem.ledger.relaying import backlog, brokered

__all__ = ["EPOCH_KEY", "LostMessageScan", "epoch_of"]

logger = logging.getLogger("tandem.relay")

EPOCH_KEY: Final = "tandem:epoch"
_NAME: Final = "celery"
_RUN_KEY: Final = "tandem:run"

_DEPTH: Final = 20
_STRETCH: Final = 4_000
# More than a batch, whose rows may all have been sent at one and the same time: a walk must come past it.
_LEAST: Final = 1_001
_WALK_SECONDS: Final = 0.5
_WHOLE_SECONDS: Final = 30.0

# Many relays see a restart; one changes the epoch, the others read what it became.
_CONFIRM_RUN: Final = """
local run = redis.call('GET', KEYS[2])
if run ~= ARGV[1] then
    if run then redis.call('SET', KEYS[1], ARGV[2]) end
    redis.call('SET', KEYS[2], ARGV[1])
end
return redis.call('GET', KEYS[1])
"""


@dataclass(slots=True, kw_only=True)
class _Walk:
    """A walk over the whole backlog, some stretches at each scan."""

    broker_epoch: str
    queues: list[str]
    after: datetime | None = None


@dataclass(kw_only=True)
class LostMessageScan:
    """One process's sweeps; keeps where its walks stand."""

    client: BrokerClient
    lists: Lists
    queues: Sequence[str]
    _walked: tuple[str, float] = ("", float("-inf"))
    _walk: _Walk | None = None
    _after: dict[str, datetime | None] = field(default_factory=dict)
    _overtaken: dict[str, dict[UUID, float]] = field(default_factory=dict)
    _walking: dict[str, dict[UUID, float]] = field(default_factory=dict)

    def run(self, lease: float) -> tuple[str, int]:
        """Scan once; answer the broker's epoch and how many rows were marked due."""
        in_ledger = [queue for engine, queue in ledger.execute(backlog.queues()) if engine == _NAME]
        queues = sorted({*self.queues, *in_ledger})
        bands = {queue: self.lists.bands(queue) for queue in queues}
        keys = list(dict.fromkeys(band.key for queue in queues for band in bands[queue]))
        epoch, fronts = self._look(keys)
        lost = self._walk_backlog(epoch, in_ledger, lease)
        if lost:
            logger.warning("%d execution(s) were lost on the way to celery and are sent again.", lost)
        times = self._sent_times(fronts)
        heads = {queue: self._heads(bands[queue], fronts, times) for queue in in_ledger}
        stretch = max(_LEAST, _STRETCH // max(1, len(in_ledger)))
        unclaimed = sum(self._walk_line(queue, heads[queue], lease, stretch) for queue in in_ledger)
        if unclaimed:
            # No loss, for all that is known: a worker that is busy, or was told to end, may have put them aside.
            logger.info("%d execution(s) that celery passed on are not claimed for a lease: sent again.", unclaimed)
        return epoch, lost + unclaimed

    def _look(self, keys: Sequence[str]) -> tuple[str, dict[str, list[bytes]]]:
        """Ask the broker who it is and what stands at the front of each list, in one round trip."""
        epoch_key, run_key = self.lists.prefix + EPOCH_KEY, self.lists.prefix + _RUN_KEY
        written, epoch, run, *fronts, info = self.client.exchange_leniently(
            ("SET", epoch_key, secrets.token_hex(8), "NX"),
            ("GET", epoch_key),
            ("GET", run_key),
            *[("LRANGE", key, -_DEPTH, -1) for key in keys],
            ("INFO", "server"),
        )
        known = epoch_of(self.client, written, epoch)
        for reply in (run, *fronts):
            if isinstance(reply, Exception):
                self.client.refuse(reply)
        server = _run_id(info)
        if server is not None and (run is None or run.decode() != server):
            (changed,) = self.client.exchange(
                ("EVAL", _CONFIRM_RUN, 2, epoch_key, run_key, server, secrets.token_hex(8))
            )
            known = epoch_of(self.client, None, changed)
        return known, dict(zip(keys, fronts, strict=True))

    def _walk_backlog(self, epoch: str, queues: Sequence[str], lease: float) -> int:
        """Look for rows of another epoch: at first, when it changed, and now and then in case one slipped through."""
        now = time.monotonic()
        stale = self._walked[0] != epoch or now - self._walked[1] >= _WHOLE_SECONDS
        if (self._walk is None and stale) or (self._walk is not None and self._walk.broker_epoch != epoch):
            self._walk = _Walk(broker_epoch=epoch, queues=list(queues))
        marked = 0
        # The rest follows at the next scan: the relay has rows to send, too.
        while (walk := self._walk) is not None and time.monotonic() - now < _WALK_SECONDS:
            if not walk.queues:
                self._walk, self._walked = None, (epoch, now)
                break
            stretch = ledger.execute(
                brokered.lost_with_epoch(
                    engine=_NAME,
                    queue=walk.queues[0],
                    broker_epoch=epoch,
                    lease=lease,
                    after=walk.after,
                    limit=_STRETCH,
                )
            )
            marked += stretch.marked
            walk.after = stretch.last
            if stretch.rows < _STRETCH:
                walk.after = None
                del walk.queues[0]
        return marked

    def _walk_line(
        self, queue: str, heads: Sequence[tuple[int, int, datetime | None]], lease: float, stretch: int
    ) -> int:
        """Look for rows that are unclaimed though what was sent after them has come to the front.

        A worker has most of them: popped a moment ago, or prefetched. Only one seen so for a lease is lost.
        """
        if not heads:
            return 0
        passed = ledger.execute(
            brokered.overtaken(engine=_NAME, queue=queue, heads=heads, after=self._after.get(queue), limit=stretch)
        )
        now, seen = time.monotonic(), self._overtaken.setdefault(queue, {})
        since = {id_: seen.get(id_, now) for id_ in passed.ids}
        lost = [id_ for id_, first in since.items() if now - first >= lease]
        walked = self._walking.setdefault(queue, {})
        walked.update(since)
        self._after[queue] = passed.last
        if passed.rows < stretch:
            # The walk is round: what it did not meet was claimed, or sent again.
            self._after[queue], self._overtaken[queue], self._walking[queue] = None, walked, {}
        return ledger.execute(brokered.mark_lost(lost)) if lost else 0

    def _sent_times(self, fronts: dict[str, list[bytes]]) -> dict[UUID, datetime]:
        ids = {id_ for front in fronts.values() for message in front if (id_ := id_of(message)) is not None}
        return dict(ledger.execute(brokered.sent_times(list(ids), engine=_NAME))) if ids else {}

    def _heads(
        self, bands: Sequence[Band], fronts: dict[str, list[bytes]], times: dict[UUID, datetime]
    ) -> list[tuple[int, int, datetime | None]]:
        """When the front of each list was sent.

        The oldest of the first few: a reference that was sent twice has the later time, whichever copy stands here.
        A list whose front is all strange to the ledger says nothing, and its rows are left alone.
        """
        heads: list[tuple[int, int, datetime | None]] = []
        for band in bands:
            front = fronts[band.key]
            known = [times[id_] for message in front if (id_ := id_of(message)) in times]
            if known or not front:
                heads.append((band.lowest, band.highest, min(known) if known else None))
        return heads


def epoch_of(client: BrokerClient, written: Any, read: Any) -> str:
    """Tell the epoch from the replies to `SET ... NX` and `GET`; raises `BrokerUnavailable` where there is none.

    It is there whatever refused to write it again. Without one, every row would look lost, again and again.
    """
    if not isinstance(read, bytes):
        errors = (reply for reply in (read, written) if isinstance(reply, Exception))
        client.refuse(next(errors, redis.ResponseError(f"it does not keep the key {EPOCH_KEY}")))
    return read.decode()


def _run_id(info: Any) -> str | None:
    """The server's life, where it may be asked for it (an ACL may forbid INFO)."""
    found = re.search(rb"^run_id:(\w+)", info, re.MULTILINE) if isinstance(info, bytes) else None
    return None if found is None else found[1].decode()
