"""The hot path's statements around an attempt, by name: enqueue, claim, heartbeat.

A `Statement` is SQL with its parameters and the reader of its rows; `tandem.ledger.connection` executes it, on the
runner's own connection or, at enqueue, on Django's. Times are the database's: no process's clock takes part in a
lease. What an attempt writes while it holds its claim is in `tandem.ledger.attempt`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from tandem.ledger.events import note
from tandem.ledger.rows import Claim, Lease, NewExecution
from tandem.ledger.statement import Rows, Statement, statement

__all__ = [
    "CLAIM_COLUMNS",
    "FREE",
    "claim",
    "claim_invocation",
    "heartbeat",
    "insert_many",
    "insert_one",
    "read_claim",
    "sent",
    "unsent",
]

# --- enqueue -----------------------------------------------------------------------------------------------------

_INSERT_COLUMNS: Final = (
    "id, task, queue, priority, arguments, engine, reason, pinned, owner, parent, trace, idempotency_key,"
    " phase, due_at, sent_at, broker_epoch, created_at"
)

INSERT_ONE: Final = f"""
INSERT INTO tandem_execution ({_INSERT_COLUMNS})
VALUES (%(id)s, %(task)s, %(queue)s, %(priority)s, %(arguments)s, %(engine)s, %(reason)s, %(pinned)s, %(owner)s,
        %(parent)s, %(trace)s, %(idempotency_key)s, %(phase)s::text, %(due_at)s,
        CASE WHEN %(phase)s::text = 'queued' THEN clock_timestamp() END, %(broker_epoch)s, clock_timestamp())
ON CONFLICT DO NOTHING
RETURNING created_at
"""

# As fast as COPY, and it may stand beside other statements: 1,000 rows take about 12 ms with all indexes.
INSERT_MANY: Final = f"""
INSERT INTO tandem_execution ({_INSERT_COLUMNS})
SELECT new.id, %(task)s, %(queue)s, %(priority)s, new.arguments, %(engine)s, %(reason)s, %(pinned)s, %(owner)s,
       %(parent)s, %(trace)s, NULL, %(phase)s::text, %(due_at)s,
       CASE WHEN %(phase)s::text = 'queued' THEN clock_timestamp() END, %(broker_epoch)s, clock_timestamp()
FROM ROWS FROM (unnest(%(ids)s::uuid[]), jsonb_array_elements(%(arguments)s::jsonb)) AS new(id, arguments)
RETURNING created_at
"""

# Of many rows, for what is found again where it was left out: a caller's transaction around a cancel may be long, and
# who waits for rows in any order may wait for one that waits for him.
FREE: Final = "id IN (SELECT id FROM tandem_execution WHERE id = ANY(%(ids)s::uuid[]) FOR NO KEY UPDATE SKIP LOCKED)"

UNSENT: Final = f"""
UPDATE tandem_execution SET sent_at = NULL, broker_epoch = NULL, due_at = now() + %(seconds)s * interval '1 second'
WHERE {FREE} AND phase = 'queued'
RETURNING id
"""

SENT: Final = f"""
UPDATE tandem_execution SET sent_at = now(), broker_epoch = %(broker_epoch)s
WHERE {FREE} AND phase = 'queued'
RETURNING id
"""


def _columns(new: NewExecution) -> dict[str, Any]:
    return {
        "id": new.id,
        "task": new.task,
        "queue": new.queue,
        "priority": new.priority,
        "arguments": new.arguments,
        "engine": new.engine,
        "reason": new.reason,
        "pinned": new.pinned,
        "owner": new.owner,
        "parent": new.parent,
        "trace": None if new.trace is None else Jsonb(new.trace),
        "idempotency_key": new.idempotency_key,
        "phase": new.phase,
        "due_at": new.due_at,
        "broker_epoch": new.broker_epoch,
    }


def insert_one(new: NewExecution) -> Statement[datetime | None]:
    """Insert one row; reads its `created_at`, or None where the idempotency key is taken."""
    return Statement("insert_one", INSERT_ONE, _columns(new), lambda rows: rows[0][0] if rows else None)


def insert_many(new: NewExecution, *, ids: Sequence[UUID], arguments: Sequence[str]) -> Statement[datetime]:
    """Insert rows that differ from `new` in nothing but id and arguments (JSON texts); reads the first's `created_at`."""
    parameters = _columns(new) | {
        "ids": "{" + ",".join(map(str, ids)) + "}",
        "arguments": "[" + ",".join(arguments) + "]",
    }
    return Statement("insert_many", INSERT_MANY, parameters, lambda created: created[0][0])


@statement(UNSENT, len)
def unsent(ids: Sequence[UUID], *, seconds: float = 0.0) -> None:
    """Say that a push failed: the relay sends these queued rows again, after so many seconds."""


@statement(SENT, len)
def sent(ids: Sequence[UUID], broker_epoch: str | None) -> None:
    """Say that a push met another epoch of the broker than the rows were written with."""


# What names its rows says by their phases that they have no outcome: a predicate of `outcome IS NULL` would let the
# planner walk the relay's partial index instead of the primary key, and it did, with plans cached on an empty table.

# --- claim ------------------------------------------------------------------------------------------------------

_CLAIM_SET: Final = """
    phase = 'running',
    fence = fence + 1,
    worker = %(worker)s::text,
    started_at = COALESCE(started_at, now()),
    last_attempted_at = now(),
    lease_expires_at = now() + %(lease)s * interval '1 second'
"""

CLAIM_COLUMNS: Final = """
    id, task, queue, priority, arguments, engine, reason, owner, parent, trace, idempotency_key,
    fence, worker, attempts, lost_leases, dispatch_number, worker_ids, errors, created_at, started_at, last_attempted_at,
    cancel_requested_at IS NOT NULL
"""

# A message may come for a row that the relay is about to send again (a push that failed late, a queue that was
# emptied): once it runs, it is sent and not due, or no relay would find its lost lease. Else this writes no column of
# an index anew, and stays heap-only.
CLAIM: Final = f"""
UPDATE tandem_execution SET {_CLAIM_SET},
    due_at = NULL,
    sent_at = COALESCE(sent_at, now()),
    worker_ids = CASE WHEN jsonb_array_length(worker_ids) <= attempts
                      THEN worker_ids || to_jsonb(%(worker)s::text) ELSE worker_ids END
WHERE id = %(id)s AND phase = 'queued' AND engine = %(engine)s
RETURNING {CLAIM_COLUMNS}
"""

_SILENT: Final = "(phase = 'running' AND lease_expires_at IS NOT NULL)"

CLAIM_INVOCATION: Final = f"""
WITH left_behind AS MATERIALIZED (
    SELECT id, worker FROM tandem_execution WHERE id = %(id)s AND {_SILENT}
), claimed AS (
UPDATE tandem_execution SET {_CLAIM_SET},
    invocation = %(invocation)s::text,
    attempts = attempts + {_SILENT}::int,
    lost_leases = lost_leases + {_SILENT}::int,
    worker_ids = CASE WHEN jsonb_array_length(worker_ids) <= attempts + {_SILENT}::int
                      THEN worker_ids || to_jsonb(%(worker)s::text) ELSE worker_ids END
WHERE id = %(id)s AND task = %(task)s AND engine = %(engine)s AND dispatch_number = %(dispatch_number)s
  AND phase IN ('queued', 'retrying', 'sleeping', 'waiting', 'running')
  AND (invocation IS NULL OR invocation = %(invocation)s::text)
RETURNING {CLAIM_COLUMNS}
), lost AS (
    SELECT left_behind.id, left_behind.worker FROM left_behind JOIN claimed USING (id)
), noted AS ({note("lost", kind="lease lost", detail="'by ' || worker || ': ' || %(worker)s::text || ' goes on'")})
SELECT * FROM claimed
"""


def read_claim(rows: Rows) -> Claim | None:
    """Read a row of `CLAIM_COLUMNS`."""
    return Claim(*rows[0]) if rows else None


@statement(CLAIM, read_claim)
def claim(*, id: UUID, engine: str, worker: str, lease: float) -> None:  # noqa: A002  # the column
    """Take the lease of a queued row; None where another holds it, or it is over, cancelled or elsewhere."""


@statement(CLAIM_INVOCATION, read_claim)
def claim_invocation(
    *,
    id: UUID,  # noqa: A002  # the column
    task: str,
    engine: str,
    worker: str,
    lease: float,
    dispatch_number: int,
    invocation: str,
) -> None:
    """Take, or take again, the lease for one Restate invocation of one dispatch; any other is refused.

    So is one that came through another task's handler.

    A row still `running` with a lease was left by an attempt that died, and counts one lost lease.
    """


# --- a process ---------------------------------------------------------------------------------------------------

_HELD: Final = """id = ANY(%(ids)s::uuid[]) AND fence = (%(fences)s::int[])[array_position(%(ids)s::uuid[], id)]
      AND phase = 'running' AND lease_expires_at IS NOT NULL"""

# It waits for no row: a caller's transaction around a cancel may be long, and is to stop one lease, not a process's.
# A row that is locked is renewed at a later beat; what was committed of it says meanwhile whether its lease is held.
HEARTBEAT: Final = f"""
WITH seen AS (
    INSERT INTO tandem_worker (id, kind, engine, queues, concurrency, running, stuck, started_at, seen_at)
    VALUES (%(worker)s::text, %(kind)s, %(engine)s, %(queues)s, %(concurrency)s, cardinality(%(ids)s::uuid[]), %(stuck)s,
            now(), now())
    ON CONFLICT (id) DO UPDATE
    SET running = EXCLUDED.running, stuck = EXCLUDED.stuck, seen_at = now()
), free AS MATERIALIZED (
    SELECT id FROM tandem_execution WHERE {_HELD} FOR NO KEY UPDATE SKIP LOCKED
), renewed AS (
    UPDATE tandem_execution AS execution SET lease_expires_at = now() + %(lease)s * interval '1 second'
    FROM free WHERE execution.id = free.id
)
SELECT id, cancel_requested_at IS NOT NULL FROM tandem_execution WHERE {_HELD}
"""


def heartbeat(
    *,
    worker: str,
    kind: str,
    engine: str,
    queues: Sequence[str],
    concurrency: int,
    stuck: int,
    leases: Sequence[Lease],
    seconds: float,
) -> Statement[dict[Lease, bool]]:
    """Renew leases for so many seconds, and the process's own row; reads which are held, and whether to cancel each.

    Of two leases of one execution the ledger can know only the newer: it is not asked for the other.
    """
    newest = {lease.id: lease for lease in sorted(leases, key=lambda lease: lease.fence)}
    parameters = {
        "worker": worker,
        "kind": kind,
        "engine": engine,
        "queues": Jsonb(list(queues)),
        "concurrency": concurrency,
        "stuck": stuck,
        "ids": list(newest),
        "fences": [lease.fence for lease in newest.values()],
        "lease": seconds,
    }
    return Statement("heartbeat", HEARTBEAT, parameters, lambda rows: {newest[row[0]]: row[1] for row in rows})
