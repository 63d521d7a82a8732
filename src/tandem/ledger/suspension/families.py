"""A call's statements: children are inserted, looked at, and what they answered is recorded.

Locks: `spawn` the parent's row, for its own time alone; the others none.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from tandem.ledger.rows import Claim, Lease, LeaseCheck
from tandem.ledger.statement import Rows, Statement, statement
from tandem.ledger.suspension.open_steps import HOLDER, STEP, step_parameters

__all__ = ["Child", "ChildEnd", "Children", "answer_call", "children", "spawn"]

# Children are the relay's to send, as all that was never sent. A parent that is to be cancelled has none any more: the
# lock, held for this statement alone, has a cancel either see them or be seen.
SPAWN: Final = f"""
WITH holder AS MATERIALIZED ({HOLDER} FOR NO KEY UPDATE), opened AS (
    INSERT INTO tandem_step (execution_id, name, occurrence, position, kind, result, started_at, finished_at, fence,
                             worker)
    SELECT id, %(name)s, %(occurrence)s, %(position)s, 'calling', '{{}}', now(), NULL, %(fence)s, %(worker)s::text
    FROM holder WHERE cancel_requested_at IS NULL
    ON CONFLICT DO NOTHING RETURNING 1
), born AS (
    INSERT INTO tandem_execution (id, task, queue, priority, arguments, engine, reason, pinned, owner, parent, trace,
                                  phase, due_at, created_at)
    SELECT child.id, child.task, child.queue, child.priority, child.arguments, child.engine, child.reason, FALSE,
           %(owner)s, holder.id, %(trace)s, child.phase, CASE WHEN child.phase = 'queued' THEN now() END,
           clock_timestamp()
    FROM holder, jsonb_to_recordset(%(children)s) AS child(id uuid, task text, queue text, priority int,
                                                           arguments jsonb, engine text, reason text, phase text)
    WHERE cancel_requested_at IS NULL
    ON CONFLICT (id) DO NOTHING RETURNING pg_notify('tandem_relay', '')
)
SELECT (SELECT count(*) FROM holder), (SELECT count(*) FROM born) + (SELECT count(*) FROM opened),
       (SELECT cancel_requested_at IS NOT NULL FROM holder)
"""

# A child that is gone has ended: it was pruned, or deleted by hand.
CHILDREN: Final = f"""
WITH holder AS ({HOLDER})
SELECT holder.wake_generation, holder.cancel_requested_at IS NOT NULL, wanted.id,
       CASE WHEN child.id IS NULL THEN 'gone' ELSE child.outcome END, child.result,
       CASE WHEN child.id IS NULL THEN 'Its row was deleted before its parent read how it ended.'
            ELSE child.errors -> -1 ->> 'traceback' END
FROM holder CROSS JOIN unnest(%(ids)s::uuid[]) AS wanted(id) LEFT JOIN tandem_execution AS child ON child.id = wanted.id
"""

ANSWER_CALL: Final = f"""
WITH holder AS ({HOLDER}), written AS (
    UPDATE tandem_step SET kind = 'call', result = %(result)s, finished_at = now(), fence = %(fence)s,
                           worker = %(worker)s::text
    FROM holder WHERE {STEP} AND kind = 'calling' RETURNING 1
)
SELECT (SELECT count(*) FROM holder), (SELECT count(*) FROM written),
       (SELECT cancel_requested_at IS NOT NULL FROM holder)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A row to insert for a child. `arguments` is JSON's data, not its text."""

    id: str
    task: str
    queue: str
    priority: int
    arguments: dict[str, Any]
    engine: str
    reason: str
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnd:
    """How a child ended, `gone` where its row is no more; `traceback` is its last error's."""

    outcome: str
    result: Any
    traceback: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """Those that have ended, and what the parent's row says."""

    held: bool
    wake_generation: int
    cancel_requested: bool
    ended: dict[UUID, ChildEnd]


def spawn(claim: Claim, *, name: str, occurrence: int, position: int, born: Sequence[Child]) -> Statement[LeaseCheck]:
    """Insert children, once, and open the step that waits for them."""
    parameters = step_parameters(claim.lease, name=name, occurrence=occurrence, position=position) | {
        "owner": claim.owner,
        "trace": None if claim.trace is None else Jsonb(claim.trace),
        "children": Jsonb([asdict(child) for child in born]),
    }
    return Statement("spawn", SPAWN, parameters, LeaseCheck.read)


def _read_children(rows: Rows) -> Children:
    ended = {row[2]: ChildEnd(outcome=row[3], result=row[4], traceback=row[5]) for row in rows if row[3] is not None}
    return Children(
        held=bool(rows),
        wake_generation=rows[0][0] if rows else 0,
        cancel_requested=bool(rows and rows[0][1]),
        ended=ended,
    )


@statement(CHILDREN, _read_children)
def children(lease: Lease, *, ids: Sequence[UUID]) -> None:
    """Read which of `ids` have ended, and how."""


def answer_call(lease: Lease, *, name: str, occurrence: int, result: str) -> Statement[LeaseCheck]:
    """Record what the children answered, unless an earlier attempt did. `result` is JSON."""
    parameters = step_parameters(lease, name=name, occurrence=occurrence) | {"result": result}
    return Statement("answer_call", ANSWER_CALL, parameters, LeaseCheck.read)
