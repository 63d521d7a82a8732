"""The statements of an engine with a broker and workers: what was lost on the way, and what a supervisor does for children.

Locks: what looks for lost messages, those rows that nobody else has locked; what a supervisor does, the rows it names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from tandem.ledger.events import note
from tandem.ledger.hot.claims import CLAIM_COLUMNS, read_claim
from tandem.ledger.hot.inserts import FREE
from tandem.ledger.rows import Lease, Walked
from tandem.ledger.statement import Rows, Statement, statement

__all__ = [
    "Stretch",
    "cancel_killed",
    "consumed_queues",
    "fence_off",
    "lost_with_epoch",
    "mark_lost",
    "overtaken",
    "requeue",
    "sent_times",
]

# Each walks a stretch of a queue's sent rows, in the order of the index, so that no statement grows with a backlog. To
# the planner that order begins with `due_at`, null or not: by `sent_at` alone it sorted the whole backlog for each.
_MARKED: Final = """
), marked AS (
    UPDATE tandem_execution AS execution SET due_at = now()
    FROM (
        SELECT candidate.id FROM tandem_execution AS candidate JOIN lost USING (id)
        WHERE candidate.phase = 'queued' AND candidate.due_at IS NULL
        FOR UPDATE OF candidate SKIP LOCKED
    ) AS locked
    WHERE execution.id = locked.id
    RETURNING 1
)
SELECT (SELECT count(*) FROM stretch), (SELECT max(sent_at) FROM stretch), (SELECT count(*) FROM marked)
"""

LOST_WITH_EPOCH: Final = f"""
WITH stretch AS MATERIALIZED (
    SELECT id, sent_at, broker_epoch, phase FROM tandem_execution
    WHERE engine = %(engine)s AND queue = %(queue)s AND outcome IS NULL AND due_at IS NULL
      AND sent_at >= COALESCE(%(after)s::timestamptz, '-infinity')
    ORDER BY due_at, sent_at LIMIT %(limit)s
), lost AS (
    SELECT id FROM stretch
    WHERE phase = 'queued'
      AND (broker_epoch <> %(broker_epoch)s OR (broker_epoch IS NULL AND sent_at < now() - %(lease)s * interval '1 second'))
{_MARKED}
"""

OVERTAKEN: Final = """
WITH stretch AS MATERIALIZED (
    SELECT id, sent_at, priority, phase FROM tandem_execution
    WHERE engine = %(engine)s AND queue = %(queue)s AND outcome IS NULL AND due_at IS NULL
      AND sent_at >= COALESCE(%(after)s::timestamptz, '-infinity')
      AND sent_at < COALESCE(%(before)s::timestamptz, 'infinity')
    ORDER BY due_at, sent_at LIMIT %(limit)s
)
SELECT (SELECT count(*) FROM stretch), (SELECT max(sent_at) FROM stretch), ARRAY(
    SELECT id FROM stretch
    JOIN unnest(%(lowest)s::int[], %(highest)s::int[], %(heads)s::timestamptz[]) AS band(lowest, highest, head)
      ON priority BETWEEN band.lowest AND band.highest AND (band.head IS NULL OR sent_at < band.head)
    WHERE phase = 'queued'
), now()
"""

MARK_LOST: Final = f"""
{FREE.format(condition="phase = 'queued' AND due_at IS NULL")}
UPDATE tandem_execution AS execution SET due_at = now()
FROM free WHERE execution.id = free.id
RETURNING execution.id
"""

SENT_TIMES: Final = """
SELECT id, sent_at FROM tandem_execution
WHERE id = ANY(%(ids)s::uuid[]) AND engine = %(engine)s AND phase = 'queued' AND due_at IS NULL
  AND sent_at IS NOT NULL
"""

FENCE_OFF: Final = f"""
UPDATE tandem_execution SET fence = fence + 1
WHERE id = %(id)s AND worker = %(worker)s::text AND phase = 'running'
RETURNING {CLAIM_COLUMNS}
"""

REQUEUE: Final = f"""
WITH handed AS (
    UPDATE tandem_execution AS execution
    SET phase = 'queued', due_at = now(), sent_at = NULL, broker_epoch = NULL, lease_expires_at = NULL
    FROM unnest(%(ids)s::uuid[], %(fences)s::int[], %(workers)s::text[]) AS mine(id, fence, worker)
    WHERE execution.id = mine.id AND execution.worker = mine.worker AND mine.fence IN (0, execution.fence)
      AND execution.phase = 'running'
    RETURNING execution.id, execution.worker
), noted AS ({note("handed", kind="requeued", detail="'its worker was to end: ' || worker")})
SELECT id, pg_notify('tandem_relay', '') FROM handed
"""

CANCEL_KILLED: Final = f"""
WITH killed AS (
    UPDATE tandem_execution
    SET phase = 'cancelled', outcome = 'cancelled', finished_at = now(), due_at = NULL, lease_expires_at = NULL
    WHERE id = %(id)s AND fence = %(fence)s AND phase = 'running' AND cancel_requested_at IS NOT NULL
    RETURNING id, parent
), noted AS ({note("killed", kind="cancelled", detail="'its body did not stop in time: its process was killed'")})
SELECT id, parent FROM killed
"""

CONSUMED_QUEUES: Final = """
SELECT queues FROM tandem_worker
WHERE kind = 'worker' AND engine = %(engine)s AND seen_at > now() - %(seconds)s * interval '1 second'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What a walk saw: how many rows, the `sent_at` of the last, and how many of them it marked due."""

    rows: int
    last: datetime | None
    marked: int


def _read_stretch(rows: Rows) -> Stretch:
    count, last, marked = rows[0]
    return Stretch(rows=count, last=last, marked=marked)


@statement(LOST_WITH_EPOCH, _read_stretch)
def lost_with_epoch(
    *, engine: str, queue: str, broker_epoch: str, lease: float, after: datetime | None, limit: int
) -> None:
    """Mark due, among the next `limit` sent rows, those that another life of the broker took with it."""


def overtaken(
    *, engine: str, queue: str, heads: Sequence[tuple[int, int, datetime | None]], after: datetime | None, limit: int
) -> Statement[Walked]:
    """Find, among the next `limit` sent rows, those unclaimed though they were sent before the head of their list.

    `heads` are `(lowest priority, highest, sent_at of the head)`, with None for a list that is empty.
    """
    times = [head for _, _, head in heads]
    parameters = {
        "engine": engine,
        "queue": queue,
        "lowest": [lowest for lowest, _, _ in heads],
        "highest": [highest for _, highest, _ in heads],
        "heads": times,
        "before": None if None in times else max(time for time in times if time is not None),
        "after": after,
        "limit": limit,
    }
    return Statement("overtaken", OVERTAKEN, parameters, Walked.read)


@statement(MARK_LOST, len)
def mark_lost(ids: Sequence[UUID]) -> None:
    """Mark due those of `ids` that are still unclaimed; answers how many."""


@statement(SENT_TIMES, lambda rows: {row[0]: row[1] for row in rows})
def sent_times(ids: Sequence[UUID], *, engine: str) -> None:
    """Read when those of `ids` that are still queued were last sent."""


@statement(FENCE_OFF, read_claim)
def fence_off(*, id: UUID, worker: str) -> None:  # noqa: A002  # the column
    """Take a claim from a dead child of that name, so that what it sent last changes nothing.

    None where it holds it no more; `worker` is as for `backlog.requeue_dead`.
    """


def requeue(leases: Sequence[Lease]) -> Statement[int]:
    """Queue again what a worker that ends did not finish; it counts neither as a failure nor as a lost lease.

    A fence of 0 is that of a claim whose answer nobody heard: its worker's name stands for it, which no other has.
    """
    parameters = {
        "ids": [lease.id for lease in leases],
        "fences": [lease.fence for lease in leases],
        "workers": [lease.worker for lease in leases],
    }
    return Statement("requeue", REQUEUE, parameters, len)


@statement(CANCEL_KILLED, lambda rows: [(row[0], row[1]) for row in rows])
def cancel_killed(lease: Lease) -> None:
    """End an execution whose body was told to stop, did not, and was killed; reads `(id, parent)`, if it ended now."""


def _read_queues(rows: Rows) -> list[str] | None:
    return sorted({queue for row in rows for queue in row[0]}) if rows else None


@statement(CONSUMED_QUEUES, _read_queues)
def consumed_queues(*, engine: str, seconds: float) -> None:
    """Read the queues of the workers seen in the last `seconds`; None where there is no worker."""
