"""What an attempt reads and writes once it holds a claim: steps, progress and how it ended.

Guards: each write names its fence, so an attempt that is over changes nothing. Rows are named by phases, as
`tandem.ledger.hot.claims` says. Locks: what ends an attempt, its row, and together those that nobody has locked; a
checkpoint and a progress none, or a body's transaction would stop the heartbeat of its whole process.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.types.json import Jsonb

from tandem.ledger.events import note
from tandem.ledger.rows import Error, Lease, LeaseCheck, RecordedStep
from tandem.ledger.statement import FREE_EACH, Statement, Value, of_each, of_one, statement

__all__ = ["HELD", "checkpoint", "finish", "park", "progress", "recorded_steps", "retry_later", "send_elsewhere"]

# An attempt whose lease ran out may still write, until a newer one claims the row that the relay queued again.
_PHASES: Final = "phase IN ('running', 'queued')"
HELD: Final = f"id = %(id)s AND fence = %(fence)s AND {_PHASES}"

RECORDED_STEPS: Final = """
SELECT name, occurrence, position, kind, result, EXTRACT(EPOCH FROM finished_at - now())::float8
FROM tandem_step WHERE execution_id = %(id)s ORDER BY position
"""

CHECKPOINT: Final = f"""
WITH holder AS (
    SELECT id, cancel_requested_at FROM tandem_execution
    WHERE {HELD}
), written AS (
    INSERT INTO tandem_step (execution_id, name, occurrence, position, kind, result, started_at, finished_at, fence,
                             worker)
    SELECT id, %(name)s, %(occurrence)s, %(position)s, 'step', %(result)s,
           clock_timestamp() - %(seconds)s * interval '1 second', clock_timestamp(), %(fence)s, %(worker)s::text
    FROM holder
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT (SELECT count(*) FROM holder), (SELECT count(*) FROM written),
       (SELECT cancel_requested_at IS NOT NULL FROM holder)
"""

PROGRESS: Final = f"""
WITH holder AS (
    SELECT id, cancel_requested_at FROM tandem_execution
    WHERE {HELD}
), written AS (
    INSERT INTO tandem_progress (execution_id, current, total, message, updated_at)
    SELECT id, %(current)s, %(total)s, %(message)s, now() FROM holder
    ON CONFLICT (execution_id) DO UPDATE
    SET current = EXCLUDED.current, total = EXCLUDED.total, message = EXCLUDED.message, updated_at = now()
    RETURNING 1
)
SELECT (SELECT count(*) FROM holder), (SELECT count(*) FROM written),
       (SELECT cancel_requested_at IS NOT NULL FROM holder)
"""


def _finish(value: Value, rows: str) -> str:
    error = value("error", "jsonb")
    return f"""
UPDATE tandem_execution
SET phase = {value("outcome", "text")}, outcome = {value("outcome", "text")}, result = {value("result", "jsonb")},
    finished_at = now(), lease_expires_at = NULL, due_at = NULL, attempts = attempts + {value("failed", "int")},
    errors = CASE WHEN {error} IS NULL THEN errors ELSE errors || {error} END
WHERE {rows}
RETURNING id, finished_at
"""


FINISH: Final = _finish(of_one, HELD)

FINISH_TOGETHER: Final = f"""
WITH {FREE_EACH.format(condition=f"fence = {of_each('fence', 'int')} AND {_PHASES}")}
{_finish(of_each, "id = ANY(ARRAY(SELECT id FROM free))")}
"""

# The last ten errors are kept: a task that is retried for a week must not grow its row without bound.
_ERRORS_KEPT: Final = """
    (SELECT jsonb_agg(item ORDER BY place) FROM (
        SELECT item, place FROM jsonb_array_elements(errors || %(error)s::jsonb) WITH ORDINALITY AS list(item, place)
        ORDER BY place DESC LIMIT 10) AS latest)
"""

RETRY_LATER: Final = f"""
WITH held AS (
    UPDATE tandem_execution
    SET phase = 'retrying', attempts = attempts + %(counted)s, lease_expires_at = NULL, sent_at = NULL, broker_epoch = NULL,
        due_at = now() + %(seconds)s * interval '1 second', errors = {_ERRORS_KEPT}
    WHERE {HELD}
    RETURNING id, due_at
), noted AS ({note("held", kind="retrying", detail="%(why)s")})
SELECT due_at FROM held
"""

# Nobody's failure: another process may have the task, or newer code. A runtime keeps an invocation with the code that
# began it, so a new one is sent.
SEND_ELSEWHERE: Final = f"""
WITH unknown AS (
    UPDATE tandem_execution
    SET phase = 'queued', lease_expires_at = NULL, sent_at = NULL, broker_epoch = NULL, invocation = NULL,
        dispatch_number = dispatch_number + 1, due_at = now() + %(seconds)s * interval '1 second'
    WHERE {HELD}
    RETURNING id
), noted AS ({note("unknown", kind="unknown task", detail="%(why)s", once=True)})
SELECT id FROM unknown
"""

# A runtime whose journal has what the changed code no longer asks for would try it again for ever.
PARK: Final = f"""
WITH parked AS (
    UPDATE tandem_execution
    SET phase = 'parked', lease_expires_at = NULL, due_at = NULL, errors = {_ERRORS_KEPT}
    WHERE {HELD}
    RETURNING id, engine, dispatch_number, invocation
), outbox AS (
    INSERT INTO tandem_pending_cancellation (execution_id, engine, dispatch_number, invocation)
    SELECT id, engine, dispatch_number, invocation FROM parked
    RETURNING pg_notify('tandem_relay', '')
)
SELECT id, (SELECT count(*) FROM outbox) FROM parked
"""


@statement(RECORDED_STEPS, lambda rows: tuple(RecordedStep(*row) for row in rows))
def recorded_steps(id: UUID) -> None:  # noqa: A002  # the column
    """Load what earlier attempts recorded, in the order the body asked for it."""


@statement(CHECKPOINT, LeaseCheck.read)
def checkpoint(lease: Lease, *, name: str, occurrence: int, position: int, result: str, seconds: float) -> None:
    """Record a finished step, unless the fence moved or an earlier attempt's checkpoint is there. `result` is JSON."""


@statement(PROGRESS, LeaseCheck.read)
def progress(lease: Lease, *, current: float, total: float | None, message: str) -> None:
    """Overwrite the execution's progress; answers too whether the lease is held and a cancel was asked for."""


def finish(lease: Lease, *, outcome: str, result: str | None, error: Error | None) -> Statement[datetime | None]:
    """Write the outcome once; None where this attempt no longer holds the row. `result` is JSON."""
    parameters = {
        "id": lease.id,
        "fence": lease.fence,
        "outcome": outcome,
        "result": result,
        "error": None if error is None else Jsonb([error.as_json()]),
        "failed": int(outcome in {"failed", "dead"}),
    }
    return Statement("finish", FINISH, parameters, lambda rows: rows[0][1] if rows else None, FINISH_TOGETHER)


def retry_later(lease: Lease, *, seconds: float, counted: bool, error: Error) -> Statement[datetime | None]:
    """Set when the next attempt is due, counting a failure or not; None where the lease is lost."""
    parameters = {
        "id": lease.id,
        "fence": lease.fence,
        "seconds": seconds,
        "counted": int(counted),
        "error": Jsonb([error.as_json()]),
        "why": f"in {seconds:.1f} s, after {error.line}",
    }
    return Statement("retry_later", RETRY_LATER, parameters, lambda rows: rows[0][0] if rows else None)


@statement(SEND_ELSEWHERE, bool)
def send_elsewhere(lease: Lease, *, seconds: float, why: str) -> None:
    """Have an execution sent anew later, by a process that does not know its task; False where the lease is lost."""


@statement(PARK, bool)
def park(lease: Lease, *, error: Error) -> None:
    """Set an execution aside whose code changed; checkpoints stay, and a retry resumes it."""
