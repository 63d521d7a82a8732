"""What a person asks of one execution: what it is, and to have it run again. A retry locks the one row."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tandem.ledger.events import note
from tandem.ledger.statement import each, first, one, statement

__all__ = ["Found", "Retried", "Unfinished", "by_idempotency_key", "held", "phase_of", "retry", "unfinished_tasks"]

PHASE_OF: Final = "SELECT task, phase, engine FROM tandem_execution WHERE id = %(id)s"

BY_IDEMPOTENCY_KEY: Final = "SELECT id FROM tandem_execution WHERE task = %(task)s AND idempotency_key = %(key)s"

# What processes said of tasks that they lack, of as many unfinished rows as a person waits for.
UNFINISHED_TASKS: Final = """
WITH unfinished AS MATERIALIZED (
    SELECT id, task, engine, phase FROM tandem_execution WHERE outcome IS NULL LIMIT %(limit)s
)
SELECT task, engine, count(DISTINCT unfinished.id), max(event.detail)
FROM unfinished LEFT JOIN tandem_event AS event
  ON event.execution_id = unfinished.id AND event.kind IN ('unknown task', 'not sent') AND unfinished.phase = 'queued'
GROUP BY task, engine ORDER BY task, engine
"""

HELD: Final = """
SELECT engine, count(*) FROM (
    SELECT engine FROM tandem_execution WHERE outcome IS NULL AND phase = 'held' LIMIT %(limit)s
) AS held GROUP BY engine ORDER BY engine
"""

# The fence goes up too: whatever may still run of an earlier attempt is over.
# A body that ended in a call whose child failed looks at it again: the child may have been retried meanwhile. One that
# ended because a wait gave up waits for as long again.
RETRY: Final = f"""
WITH again AS (
    UPDATE tandem_execution
    SET phase = 'queued', outcome = NULL, result = NULL, finished_at = NULL, due_at = NULL, attempts = 0, lost_leases = 0,
        dispatch_number = dispatch_number + 1, invocation = NULL, fence = fence + 1, lease_expires_at = NULL,
        cancel_requested_at = NULL, cancelled_by = NULL, worker_ids = '[]',
        sent_at = clock_timestamp(), broker_epoch = NULL,
        reason = CASE WHEN %(engine)s::text IS NULL THEN reason ELSE 'a retry asked for it' END,
        engine = COALESCE(%(engine)s::text, engine)
    WHERE id = %(id)s AND phase IN ('failed', 'dead', 'cancelled', 'parked', 'held')
    RETURNING id, task, queue, priority, dispatch_number, engine
), reopened AS (
    UPDATE tandem_step AS step
    SET kind = CASE step.kind WHEN 'call' THEN 'calling' ELSE 'waiting' END,
        result = CASE step.kind WHEN 'call' THEN '{{}}' ELSE jsonb_build_object('signal', step.name) END,
        finished_at = CASE step.kind WHEN 'call' THEN NULL ELSE now() + (step.finished_at - step.started_at) END
    FROM again
    WHERE step.execution_id = again.id
      AND step.position = (SELECT max(position) FROM tandem_step AS last WHERE last.execution_id = again.id)
      AND (step.kind = 'timeout' OR step.kind = 'call' AND step.result @? '$[*] ? (@[0] != "succeeded")')
), noted AS ({note("again", kind="retried", detail="'by hand, on ' || engine")})
SELECT id, task, queue, priority, dispatch_number, engine FROM again
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What an execution is, in three words."""

    task: str
    phase: str
    engine: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """How many executions of a task are not over on an engine, and why those that are queued did not run, if so."""

    task: str
    engine: str
    count: int
    why: str | None


@dataclass(frozen=True, slots=True)
class Retried:
    """A row that is to be sent again."""

    id: UUID
    task: str
    queue: str
    priority: int
    dispatch_number: int
    engine: str


@statement(PHASE_OF, one(Found))
def phase_of(id: UUID) -> None:  # noqa: A002  # the column
    """Read an execution's task, phase and engine; None where there is none."""


@statement(UNFINISHED_TASKS, each(Unfinished))
def unfinished_tasks(*, limit: int) -> None:
    """Read the tasks of at most `limit` unfinished rows."""


@statement(HELD, lambda rows: [(row[0], row[1]) for row in rows])
def held(*, limit: int) -> None:
    """Count what a kill switch holds, by engine, of at most `limit` rows."""


@statement(BY_IDEMPOTENCY_KEY, first(UUID))
def by_idempotency_key(*, task: str, key: str) -> None:
    """Find the execution that holds a task's idempotency key."""


@statement(RETRY, one(Retried))
def retry(*, id: UUID, engine: str | None) -> None:  # noqa: A002  # the column
    """Queue an ended, parked or held execution again with its steps kept; None where it is neither."""
