"""Deleting what is old: executions with all that belongs to them, keys, the rows of processes.

Locks: `prune` the rows of its batch that nobody else has locked; the others what they name.
"""

from collections.abc import Sequence
from typing import Final

from tandem.ledger.statement import statement

__all__ = ["forget", "forget_workers", "free_key", "prune"]

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
