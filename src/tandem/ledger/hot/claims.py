"""A lease's statements: taking one, renewing all of a process's, letting one go.

Times are the database's: no process's clock takes part in a lease. Locks: a claim and a release the one row; claims
together, and a heartbeat, their rows, and they wait for none.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from psycopg.types.json import Jsonb

from tandem.ledger.events import note
from tandem.ledger.rows import Claim, Lease
from tandem.ledger.statement import FREE_EACH, Rows, Statement, Value, of_each, of_one, statement

__all__ = ["CLAIM_COLUMNS", "claim", "claim_invocation", "heartbeat", "read_claim", "release"]

# What names its rows says by their phases that they have no outcome: a predicate of `outcome IS NULL` would let the
# planner walk the relay's partial index instead of the primary key, and it did, with plans cached on an empty table.

# Each of these has two forms of one text: for one row, and for those of a group, each by its own values.


def _claim_set(value: Value) -> str:
    return f"""
    phase = 'running',
    fence = fence + 1,
    worker = {value("worker", "text")},
    started_at = COALESCE(started_at, now()),
    last_attempted_at = now(),
    lease_expires_at = now() + {value("lease", "float8")} * interval '1 second'
"""


CLAIM_COLUMNS: Final = """
    id, task, queue, priority, arguments, engine, reason, owner, parent, trace, idempotency_key,
    fence, worker, attempts, lost_leases, dispatch_number, worker_ids, errors, created_at, started_at, last_attempted_at,
    cancel_requested_at IS NOT NULL
"""


def _claimable(value: Value) -> str:
    return f"phase = 'queued' AND engine = {value('engine', 'text')}"


# A message may come for a row that the relay is about to send again (a push that failed late, a queue that was
# emptied): once it runs, it is sent and not due, or no relay would find its lost lease. Else this writes no column of
# an index anew, and stays heap-only.
def _claim(value: Value, rows: str) -> str:
    return f"""
UPDATE tandem_execution SET {_claim_set(value)},
    due_at = NULL,
    sent_at = COALESCE(sent_at, now()),
    worker_ids = CASE WHEN jsonb_array_length(worker_ids) <= attempts
                      THEN worker_ids || to_jsonb({value("worker", "text")}) ELSE worker_ids END
WHERE {rows}
RETURNING {CLAIM_COLUMNS}
"""


_ROW: Final = "id = %(id)s"
_FREE_ROWS: Final = "id = ANY(ARRAY(SELECT id FROM free))"

CLAIM: Final = _claim(of_one, f"{_ROW} AND {_claimable(of_one)}")

CLAIM_TOGETHER: Final = f"""
WITH {FREE_EACH.format(condition=_claimable(of_each))}
{_claim(of_each, _FREE_ROWS)}
"""

_SILENT: Final = "(phase = 'running' AND lease_expires_at IS NOT NULL)"


def _claimable_by_invocation(value: Value) -> str:
    return f"""task = {value("task", "text")} AND engine = {value("engine", "text")}
    AND dispatch_number = {value("dispatch_number", "int")}
    AND phase IN ('queued', 'retrying', 'sleeping', 'waiting', 'running')
    AND (invocation IS NULL OR invocation = {value("invocation", "text")})"""


def _claim_by_invocation(value: Value, named: str, rows: str) -> str:
    worker = value("worker", "text")
    return f"""left_behind AS MATERIALIZED (
    SELECT id, worker FROM tandem_execution WHERE {named} AND {_SILENT}
), claimed AS (
UPDATE tandem_execution SET {_claim_set(value)},
    invocation = {value("invocation", "text")},
    attempts = attempts + {_SILENT}::int,
    lost_leases = lost_leases + {_SILENT}::int,
    worker_ids = CASE WHEN jsonb_array_length(worker_ids) <= attempts + {_SILENT}::int
                      THEN worker_ids || to_jsonb({worker}) ELSE worker_ids END
WHERE {rows}
RETURNING {CLAIM_COLUMNS}
), lost AS (
    SELECT left_behind.id, left_behind.worker FROM left_behind JOIN claimed USING (id)
), noted AS ({note("lost", kind="lease lost", detail=f"'by ' || worker || ': ' || {worker} || ' goes on'")})
SELECT * FROM claimed
"""


CLAIM_INVOCATION: Final = f"""
WITH {_claim_by_invocation(of_one, _ROW, f"{_ROW} AND {_claimable_by_invocation(of_one)}")}
"""

CLAIM_INVOCATION_TOGETHER: Final = f"""
WITH {FREE_EACH.format(condition=_claimable_by_invocation(of_each))},
{_claim_by_invocation(of_each, "id = ANY(%(id)s::uuid[])", _FREE_ROWS)}
"""


def read_claim(rows: Rows) -> Claim | None:
    """Read a row of `CLAIM_COLUMNS`."""
    return Claim(*rows[0]) if rows else None


@statement(CLAIM, read_claim, together=CLAIM_TOGETHER)
def claim(*, id: UUID, engine: str, worker: str, lease: float) -> None:  # noqa: A002  # the column
    """Take the lease of a queued row; None where another holds it, or it is over, cancelled or elsewhere."""


@statement(CLAIM_INVOCATION, read_claim, together=CLAIM_INVOCATION_TOGETHER)
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
