"""Cancelling: an execution with all its unfinished children; and the engines that are still to be told to give up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tandem.ledger.events import note
from tandem.ledger.statements import Statement

__all__ = ["Cancelled", "Untold", "cancel", "give_up", "told", "untold"]

# What nobody holds ends at once; what runs is asked to; what is over may have left children that are not. Each row is
# locked before its phase is read, so that one that is claimed or suspended meanwhile is still one of the two. Restate
# keeps an invocation for what waits there.
CANCEL: Final = f"""
WITH RECURSIVE family AS (
    SELECT id FROM tandem_execution WHERE id = %(id)s
    UNION ALL
    SELECT child.id FROM tandem_execution AS child JOIN family ON child.parent = family.id
), seen AS MATERIALIZED (
    SELECT execution.id, execution.phase, execution.cancel_requested_at IS NOT NULL AS asked_before
    FROM tandem_execution AS execution JOIN family USING (id)
    WHERE execution.id = %(id)s OR execution.phase NOT IN ('succeeded', 'failed', 'dead', 'cancelled')
    ORDER BY execution.id FOR NO KEY UPDATE OF execution
), stopped AS (
    UPDATE tandem_execution AS execution
    SET phase = 'cancelled', outcome = 'cancelled', finished_at = now(), due_at = NULL, lease_expires_at = NULL,
        cancel_requested_at = now(), cancelled_by = %(by)s
    FROM seen WHERE execution.id = seen.id AND seen.phase NOT IN ('running', 'succeeded', 'failed', 'dead', 'cancelled')
    RETURNING execution.id, execution.engine, execution.parent, execution.dispatch, execution.invocation, seen.phase
), asked AS (
    UPDATE tandem_execution AS execution
    SET cancel_requested_at = now(), cancelled_by = %(by)s
    FROM seen WHERE execution.id = seen.id AND seen.phase = 'running' AND NOT seen.asked_before
    RETURNING execution.id
), untold AS (
    INSERT INTO tandem_nudge (execution_id, engine, dispatch, invocation)
    SELECT id, engine, dispatch, invocation FROM stopped WHERE engine = 'restate'
    RETURNING pg_notify('tandem_relay', '')
), noted AS ({note("stopped", kind="cancelled", detail="'by ' || COALESCE(%(by)s::text, 'nobody named') || ', while ' || phase")}
), noted_too AS ({note("asked", kind="cancel asked for", detail="'by ' || COALESCE(%(by)s::text, 'nobody named') || ', while running'")}
)
SELECT (SELECT phase FROM seen WHERE id = %(id)s), (SELECT parent FROM stopped WHERE id = %(id)s),
       (SELECT count(*) FROM asked), ARRAY(SELECT id FROM stopped), (SELECT count(*) FROM untold)
"""

GIVE_UP: Final = """
INSERT INTO tandem_nudge (execution_id, engine, dispatch, invocation)
VALUES (%(id)s, 'restate', %(dispatch)s, %(invocation)s)
RETURNING pg_notify('tandem_relay', '')
"""

# An invocation may outlive its execution's row: it is named itself then, and needs no task.
UNTOLD: Final = """
SELECT nudge.id, nudge.execution_id, COALESCE(execution.task, ''), nudge.dispatch, nudge.invocation
FROM tandem_nudge AS nudge LEFT JOIN tandem_execution AS execution ON execution.id = nudge.execution_id
WHERE nudge.engine = %(engine)s ORDER BY nudge.id LIMIT %(limit)s
"""

TOLD: Final = "DELETE FROM tandem_nudge WHERE id = ANY(%(ids)s::bigint[]) RETURNING id"


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


@dataclass(frozen=True, slots=True)
class Untold:
    """An execution whose engine is still to be told to give it up."""

    nudge: int
    id: UUID
    task: str
    dispatch: int
    invocation: str | None


def cancel(*, id: UUID, by: str | None) -> Statement[Cancelled]:  # noqa: A002  # the column
    """End an execution and its unfinished children where nobody holds them, and ask those that run to stop."""
    return Statement(
        "cancel",
        CANCEL,
        {"id": id, "by": by},
        lambda rows: Cancelled(phase=rows[0][0], parent=rows[0][1], asked=rows[0][2], stopped=tuple(rows[0][3])),
    )


def give_up(*, id: UUID, dispatch: int, invocation: str) -> Statement[int]:  # noqa: A002  # the column
    """Have Restate told to give up an invocation that can do nothing for its execution any more."""
    return Statement("give_up", GIVE_UP, {"id": id, "dispatch": dispatch, "invocation": invocation}, len)


def untold(*, engine: str, limit: int) -> Statement[Sequence[Untold]]:
    """Read whom an engine is still to be told of."""
    return Statement("untold", UNTOLD, {"engine": engine, "limit": limit}, lambda rows: [Untold(*row) for row in rows])


def told(ids: Sequence[int]) -> Statement[int]:
    """Note that their engine knows."""
    return Statement("told", TOLD, {"ids": list(ids)}, len)
