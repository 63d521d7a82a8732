"""The outbox of pending cancellations: what engines have yet to drop. No execution is locked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tandem.ledger.rows import Reference
from tandem.ledger.statement import named, statement

__all__ = ["Pending", "dropped", "pending", "withdraw"]

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

DROPPED: Final = "DELETE FROM tandem_pending_cancellation WHERE id = ANY(%(ids)s::bigint[]) RETURNING id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending(Reference):
    """A row of the outbox: an execution, or an invocation, that its engine has yet to drop."""

    number: int


@statement(WITHDRAW, len)
def withdraw(*, id: UUID, engine: str, dispatch_number: int, invocation: str) -> None:  # noqa: A002  # the column
    """Enter an invocation that can do nothing for its execution any more in the outbox."""


@statement(PENDING, named(Pending, "number", "id", "task", "dispatch_number", "invocation"))
def pending(*, engine: str, limit: int) -> None:
    """Read the oldest of an engine's outbox."""


@statement(DROPPED, len)
def dropped(ids: Sequence[int]) -> None:
    """Take what an engine has dropped out of the outbox."""
