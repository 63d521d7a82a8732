"""Statements for what a person asks: a retry by hand, an execution's phase, pruning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tandem.ledger.events import note
from tandem.ledger.statement import each, first, one, statement

__all__ = [
    "Found",
    "Retried",
    "Unfinished",
    "by_idempotency_key",
    "forget",
    "forget_workers",
    "free_key",
    "phase_of",
    "prune",
    "retry",
    "unfinished_tasks",
]

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

_DELETE: Final = """steps AS (
    DELETE FROM tandem_step USING old WHERE execution_id = old.id
), progress AS (
    DELETE FROM tandem_progress USING old WHERE execution_id = old.id
), signals AS (
    DELETE FROM tandem_signal USING old WHERE execution_id = old.id
), events AS (
    DELETE FROM tandem_event USING old WHERE execution_id = old.id
), outbox AS (
    DELETE FROM tandem_pending_cancellation USING old WHERE execution_id = old.id
)
DELETE FROM tandem_execution USING old WHERE tandem_execution.id = old.id
RETURNING tandem_execution.id
"""

# By primary keys of a short batch: never a long transaction, and beside a full load it waits for nobody. A child stays
# for as long as its parent may ask for its answer.
PRUNE: Final = f"""
WITH old AS (
    SELECT id FROM tandem_execution AS execution
    WHERE created_at < now() - %(days)s * interval '1 day' AND finished_at < now() - %(days)s * interval '1 day'
      AND NOT EXISTS (
          SELECT FROM tandem_execution AS parent WHERE parent.id = execution.parent AND parent.finished_at IS NULL)
    ORDER BY created_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), {_DELETE}
"""

FORGET: Final = f"""
WITH old AS (
    SELECT id FROM tandem_execution WHERE id = ANY(%(ids)s::uuid[]) AND phase = 'succeeded' FOR UPDATE
), {_DELETE}
"""

# A key is freed by who next asks for it: nothing has to look for those that are old enough.
FREE_KEY: Final = """
UPDATE tandem_execution SET idempotency_key = NULL
WHERE task = %(task)s AND idempotency_key = %(key)s AND finished_at < now() - %(days)s * interval '1 day'
RETURNING id
"""


FORGET_WORKERS: Final = "DELETE FROM tandem_worker WHERE seen_at < now() - interval '1 day' RETURNING id"


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


@statement(BY_IDEMPOTENCY_KEY, first(UUID))
def by_idempotency_key(*, task: str, key: str) -> None:
    """Find the execution that holds a task's idempotency key."""


@statement(RETRY, one(Retried))
def retry(*, id: UUID, engine: str | None) -> None:  # noqa: A002  # the column
    """Queue an ended, parked or held execution again with its steps kept; None where it is neither."""


@statement(PRUNE, len)
def prune(*, days: float, limit: int) -> None:
    """Delete a batch of executions that finished more than `days` ago, with their steps; answers how many."""


@statement(FORGET, len)
def forget(ids: Sequence[str]) -> None:
    """Delete those of these executions that succeeded, with their steps; answers how many."""


@statement(FREE_KEY, bool)
def free_key(*, task: str, key: str, days: float) -> None:
    """Free an idempotency key whose execution finished more than `days` ago; False where it is held, or no one's."""


@statement(FORGET_WORKERS, len)
def forget_workers() -> None:
    """Delete the rows of processes that were last seen a day ago: each has a name of its own, and none comes back."""
