"""The relay's statements: what is due, and whose lease ran out.

They use the partial index of unfinished rows by engine, queue, due and sent times, and skip what another relay has
locked, so any number of relays may run.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from tandem.ledger.events import note
from tandem.ledger.rows import Reference, Walked
from tandem.ledger.statement import Rows, first, named, statement

__all__ = ["expired", "next_due", "queues", "requeue_dead", "requeue_expired", "somebody_fell_silent", "take_due"]

# A loose index scan: one index descent for each (engine, queue), however many rows there are.
QUEUES: Final = """
WITH RECURSIVE pairs AS (
    (SELECT engine, queue FROM tandem_execution WHERE outcome IS NULL ORDER BY engine, queue LIMIT 1)
    UNION ALL
    SELECT following.engine, following.queue
    FROM pairs CROSS JOIN LATERAL (
        SELECT engine, queue FROM tandem_execution
        WHERE outcome IS NULL AND (engine, queue) > (pairs.engine, pairs.queue)
        ORDER BY engine, queue LIMIT 1
    ) AS following
)
SELECT engine, queue FROM pairs
"""

TAKE_DUE: Final = """
WITH due AS (
    SELECT id FROM tandem_execution
    WHERE engine = %(engine)s AND queue = %(queue)s AND due_at <= now() AND outcome IS NULL
      AND phase = ANY(%(phases)s::text[])
    ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE tandem_execution AS execution
SET phase = 'queued', due_at = NULL, sent_at = clock_timestamp(), broker_epoch = %(broker_epoch)s
FROM due WHERE execution.id = due.id
RETURNING execution.id, execution.task, execution.queue, execution.priority, execution.dispatch_number,
          execution.broker_epoch
"""

NEXT_DUE: Final = """
SELECT EXTRACT(EPOCH FROM due_at - now())::float8 FROM tandem_execution
WHERE engine = %(engine)s AND queue = %(queue)s AND due_at > now() AND outcome IS NULL
ORDER BY due_at LIMIT 1
"""

# What becomes of the rows in `expired`. An execution that was asked to cancel ends with its worker.
_FATE: Final = f"""
), fate AS (
    SELECT expired.id, worker, CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
                            WHEN lost_leases >= %(most)s THEN 'dead' END AS outcome
    FROM expired JOIN tandem_execution USING (id)
), noted AS ({note("fate", kind="lease lost", detail="'by ' || worker || COALESCE(': ' || outcome, ': sent again')")})
UPDATE tandem_execution AS execution
SET phase = COALESCE(fate.outcome, 'queued'),
    outcome = fate.outcome,
    finished_at = CASE WHEN fate.outcome IS NOT NULL THEN now() END,
    errors = CASE WHEN fate.outcome = 'dead' THEN errors || jsonb_build_array(jsonb_build_object(
        'exception_class_path', 'builtins.RuntimeError',
        'traceback', 'RuntimeError: ' || lost_leases + 1 || ' leases were lost: the body kills or freezes its worker every'
                     ' time. Retry it by hand once the cause is gone.')) ELSE errors END,
    due_at = CASE WHEN fate.outcome IS NULL THEN now() END,
    attempts = attempts + 1, lost_leases = lost_leases + 1, lease_expires_at = NULL, sent_at = NULL, broker_epoch = NULL
FROM fate WHERE execution.id = fate.id
RETURNING execution.id, fate.outcome, execution.parent
"""

# No index names a lease, or a claim could not be heap-only: sent rows are walked, a stretch of them in the order of the
# index, as `brokered` says.
EXPIRED: Final = """
WITH stretch AS MATERIALIZED (
    SELECT id, sent_at, phase, lease_expires_at FROM tandem_execution
    WHERE engine = %(engine)s AND queue = %(queue)s AND outcome IS NULL AND due_at IS NULL
      AND sent_at >= COALESCE(%(after)s::timestamptz, '-infinity')
    ORDER BY due_at, sent_at LIMIT %(limit)s
)
SELECT (SELECT count(*) FROM stretch), (SELECT max(sent_at) FROM stretch),
       ARRAY(SELECT id FROM stretch WHERE phase = 'running' AND lease_expires_at < now()), now()
"""

# Long enough for the last lease that it took to run out, and for a relay that began to wait in between.
SOMEBODY_FELL_SILENT: Final = """
SELECT EXISTS (SELECT FROM tandem_worker WHERE kind = 'worker' AND seen_at < now() - %(lease)s * interval '1 second'
               AND seen_at > now() - 4 * %(lease)s * interval '1 second')
"""

REQUEUE_EXPIRED: Final = f"""
WITH expired AS MATERIALIZED (
    SELECT id FROM tandem_execution
    WHERE id = ANY(%(ids)s::uuid[]) AND phase = 'running' AND lease_expires_at < now() FOR UPDATE SKIP LOCKED
{_FATE}, pg_notify('tandem_relay', '')
"""

# Its process was seen to die: no lease has to run out, and no relay's patience.
REQUEUE_DEAD: Final = f"""
WITH expired AS (
    SELECT id FROM tandem_execution
    WHERE id = %(id)s AND worker = %(worker)s::text AND phase = 'running' FOR UPDATE
{_FATE}, pg_notify('tandem_relay', '')
"""


@statement(QUEUES, lambda rows: [(row[0], row[1]) for row in rows])
def queues() -> None:
    """Every (engine, queue) with unfinished rows."""


@statement(TAKE_DUE, named(Reference, "id", "task", "queue", "priority", "dispatch_number", "broker_epoch"))
def take_due(*, engine: str, queue: str, phases: Sequence[str], broker_epoch: str | None, limit: int) -> None:
    """Take a batch of rows whose time has come and write them as sent; a push that then fails is marked unsent."""


@statement(NEXT_DUE, first(float))
def next_due(*, engine: str, queue: str) -> None:
    """Seconds until the next row of a queue is due; None where none is planned."""


def _read_requeued(rows: Rows) -> list[tuple[UUID, str | None, UUID | None]]:
    return [(id_, outcome, parent) for id_, outcome, parent, _ in rows]


@statement(EXPIRED, Walked.read)
def expired(*, engine: str, queue: str, after: datetime | None, limit: int) -> None:
    """Find, among the next `limit` sent rows of a queue, those that run and whose lease ran out."""


@statement(SOMEBODY_FELL_SILENT, first(bool))
def somebody_fell_silent(*, lease: float) -> None:
    """Tell whether a worker was seen for the last time between one and four leases ago: it died, or it ended."""


@statement(REQUEUE_EXPIRED, _read_requeued)
def requeue_expired(ids: Sequence[UUID], *, most: int) -> None:
    """Take those of `ids` that run and whose lease ran out.

    Each is due at once, or cancelled where that was asked for, or dead after `most` lost leases before this one.
    Reads `(id, outcome, parent)`; outcome None: it is due.
    """


@statement(REQUEUE_DEAD, _read_requeued)
def requeue_dead(*, id: UUID, worker: str, most: int) -> None:  # noqa: A002  # the column
    """Take over what a dead process holds of an execution; as `requeue_expired`, for one row, empty where another has it.

    `worker` is the name that this one process had, and no other has: it stands for the attempt's fence, which nobody
    may have heard of.
    """
