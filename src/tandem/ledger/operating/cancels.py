"""Cancelling an execution with all its unfinished children.

Locks: the execution and those children, in the order of their ids, until the caller's transaction ends.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tandem.ledger.events import note
from tandem.ledger.statement import statement
from tandem.phases import ENDED_SQL

__all__ = ["Cancelled", "cancel"]

# What nobody holds ends at once; what runs is asked to; what is over may have left children that are not. Each row is
# locked before its phase is read, so that one that is claimed or suspended meanwhile is still one of the two. An engine
# may hold something for what waits there.
CANCEL: Final = f"""
WITH RECURSIVE family AS (
    SELECT id FROM tandem_execution WHERE id = %(id)s
    UNION ALL
    SELECT child.id FROM tandem_execution AS child JOIN family ON child.parent = family.id
), seen AS MATERIALIZED (
    SELECT execution.id, execution.phase, execution.cancel_requested_at IS NOT NULL AS asked_before
    FROM tandem_execution AS execution JOIN family USING (id)
    WHERE execution.id = %(id)s OR execution.phase NOT IN ({ENDED_SQL})
    ORDER BY execution.id FOR NO KEY UPDATE OF execution
), stopped AS (
    UPDATE tandem_execution AS execution
    SET phase = 'cancelled', outcome = 'cancelled', finished_at = now(), due_at = NULL, lease_expires_at = NULL,
        cancel_requested_at = now(), cancelled_by = %(by)s
    FROM seen WHERE execution.id = seen.id AND seen.phase NOT IN ('running', {ENDED_SQL})
    RETURNING execution.id, execution.engine, execution.parent, execution.dispatch_number, execution.invocation, seen.phase
), asked AS (
    UPDATE tandem_execution AS execution
    SET cancel_requested_at = now(), cancelled_by = %(by)s
    FROM seen WHERE execution.id = seen.id AND seen.phase = 'running' AND NOT seen.asked_before
    RETURNING execution.id
), outbox AS (
    INSERT INTO tandem_pending_cancellation (execution_id, engine, dispatch_number, invocation)
    SELECT id, engine, dispatch_number, invocation FROM stopped
    RETURNING pg_notify('tandem_relay', '')
), noted AS ({note("stopped", kind="cancelled", detail="'by ' || COALESCE(%(by)s::text, 'nobody named') || ', while ' || phase")}
), noted_too AS ({note("asked", kind="cancel asked for", detail="'by ' || COALESCE(%(by)s::text, 'nobody named') || ', while running'")}
)
SELECT (SELECT phase FROM seen WHERE id = %(id)s), (SELECT parent FROM stopped WHERE id = %(id)s),
       (SELECT count(*) FROM asked), ARRAY(SELECT id FROM stopped), (SELECT count(*) FROM outbox)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """What a cancel did.

    `phase` is what it was before, None where there is no such execution; `parent` is set where it ended now. `asked`
    is how many of the family run and were not asked before: each may have borne children that this did not see.
    `stopped` are those of the family that ended now.
    """

    phase: str | None
    parent: UUID | None
    asked: int
    stopped: tuple[UUID, ...]


@statement(
    CANCEL, lambda rows: Cancelled(phase=rows[0][0], parent=rows[0][1], asked=rows[0][2], stopped=tuple(rows[0][3]))
)
def cancel(*, id: UUID, by: str | None) -> None:  # noqa: A002  # the column
    """End an execution and its unfinished children where nobody holds them, and ask those that run to stop."""
