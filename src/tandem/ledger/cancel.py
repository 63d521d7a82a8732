"""Cancelling an execution with all its unfinished children; and the outbox of what engines have yet to drop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tandem.ledger.events import note
from tandem.ledger.rows import Reference
from tandem.ledger.statement import named, statement
from tandem.phases import ENDED_SQL

__all__ = ["Cancelled", "Pending", "cancel", "pending", "sent", "withdraw"]

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

WITHDRAW: Final = """
INSERT INTO tandem_pending_cancellation (execution_id, engine, dispatch_number, invocation)
VALUES (%(id)s, %(engine)s, %(dispatch_number)s, %(invocation)s)
RETURNING pg_notify('tandem_relay', '')
"""

# An invocation may outlive its execution's row: it is named itself then, and needs no task.
PENDING: Final = """
SELECT pending.id, pending.execution_id, COALESCE(execution.task, ''), pending.dispatch_number, pending.invocation
FROM tandem_pending_cancellation AS pending LEFT JOIN tandem_execution AS execution ON execution.id = pending.execution_id
WHERE pending.engine = %(engine)s ORDER BY pending.id LIMIT %(limit)s
"""

SENT: Final = "DELETE FROM tandem_pending_cancellation WHERE id = ANY(%(ids)s::bigint[]) RETURNING id"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending(Reference):
    """A row of the outbox: an execution, or an invocation, that its engine has yet to drop."""

    number: int


@statement(
    CANCEL, lambda rows: Cancelled(phase=rows[0][0], parent=rows[0][1], asked=rows[0][2], stopped=tuple(rows[0][3]))
)
def cancel(*, id: UUID, by: str | None) -> None:  # noqa: A002  # the column
    """End an execution and its unfinished children where nobody holds them, and ask those that run to stop."""


@statement(WITHDRAW, len)
def withdraw(*, id: UUID, engine: str, dispatch_number: int, invocation: str) -> None:  # noqa: A002  # the column
    """Enter an invocation that can do nothing for its execution any more in the outbox."""


@statement(PENDING, named(Pending, "number", "id", "task", "dispatch_number", "invocation"))
def pending(*, engine: str, limit: int) -> None:
    """Read the oldest of an engine's outbox."""


@statement(SENT, len)
def sent(ids: Sequence[int]) -> None:
    """Take what an engine has dropped out of the outbox."""
