"""A lease's statements: taking one, renewing all of a process's, letting one go.

Times are the database's: no process's clock takes part in a lease. Locks: a claim and a release the one row; a heartbeat
the rows that it renews, and it waits for none.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from psycopg.types.json import Jsonb

from tandem.ledger.events import note
from tandem.ledger.rows import Claim, Lease
from tandem.ledger.statement import Rows, Statement, statement

__all__ = ["CLAIM_COLUMNS", "claim", "claim_invocation", "heartbeat", "read_claim", "release"]

# What names its rows says by their phases that they have no outcome: a predicate of `outcome IS NULL` would let the
# planner walk the relay's partial index instead of the primary key, and it did, with plans cached on an empty table.

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


RELEASE: Final = """
UPDATE tandem_execution SET lease_expires_at = NULL
WHERE id = %(id)s AND fence = %(fence)s AND phase = 'running'
RETURNING id
"""


@statement(RELEASE, bool)
def release(lease: Lease) -> None:
    """Say that a Restate attempt ended without an outcome (suspended, disconnected): no lost lease is to be counted."""
