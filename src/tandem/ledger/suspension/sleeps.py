"""A sleep's statements: an attempt gives up its lease until a time, and may take it back. Each locks the one row."""

from typing import Final

from tandem.ledger.rows import Lease, LeaseCheck
from tandem.ledger.statement import Statement, statement

__all__ = ["resume", "suspend"]

SUSPEND: Final = """
WITH holder AS (
    UPDATE tandem_execution
    SET phase = 'sleeping', lease_expires_at = NULL, due_at = now() + %(seconds)s * interval '1 second'
    WHERE id = %(id)s AND fence = %(fence)s AND phase = 'running'
      AND cancel_requested_at IS NULL
    RETURNING id
), written AS (
    INSERT INTO tandem_step (execution_id, name, occurrence, position, kind, result, started_at, finished_at, fence,
                             worker)
    SELECT id, %(name)s, %(occurrence)s, %(position)s, 'sleep', NULL, now(),
           now() + %(seconds)s * interval '1 second', %(fence)s, %(worker)s::text
    FROM holder
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*) FROM holder
"""

RESUME: Final = """
UPDATE tandem_execution
SET phase = 'running', lease_expires_at = now() + %(lease)s * interval '1 second'
WHERE id = %(id)s AND fence = %(fence)s AND phase IN ('sleeping', 'running')
RETURNING cancel_requested_at IS NOT NULL
"""


@statement(SUSPEND, lambda rows: bool(rows[0][0]))
def suspend(lease: Lease, *, name: str, occurrence: int, position: int, seconds: float) -> None:
    """Give up the lease until a time, recording the sleep; False where the lease is lost or a cancel was asked for."""


def resume(lease: Lease, *, seconds: float) -> Statement[LeaseCheck]:
    """Take the lease back, for so many seconds, after a sleep that this same attempt waited out."""
    parameters = {"id": lease.id, "fence": lease.fence, "lease": seconds}
    return Statement(
        "resume",
        RESUME,
        parameters,
        lambda rows: LeaseCheck(held=bool(rows), written=bool(rows), cancel_requested=bool(rows and rows[0][0])),
    )
