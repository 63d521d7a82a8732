"""The statements of an engine with a runtime, which holds what it was sent: which rows to ask about, what answers mean.

Locks: what writes, those rows that nobody else has locked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from tandem.ledger.events import note
from tandem.ledger.hot.inserts import FREE
from tandem.ledger.rows import Reference
from tandem.ledger.statement import Statement, named, one, statement
from tandem.phases import ENDED_SQL

__all__ = ["Ended", "ended", "not_sent", "reconciled", "seen_alive", "send_again", "suspects", "unfinished"]

_SUSPECT: Final = """
    SELECT id, task, queue, priority, dispatch_number, fence, invocation, due_at, sent_at FROM tandem_execution
    WHERE engine = %(engine)s AND queue = %(queue)s AND outcome IS NULL AND {range}
      AND (phase = 'queued' OR phase IN ('retrying', 'sleeping') AND due_at IS NOT NULL
           OR phase = 'running' AND COALESCE(lease_expires_at, last_attempted_at + %(lease)s * interval '1 second') < now())
    ORDER BY due_at, sent_at LIMIT %(limit)s
"""

_LATE: Final = """due_at < now() - %(lease)s * interval '1 second'
      AND (sent_at < now() - %(age)s * interval '1 second' OR sent_at IS NULL AND phase <> 'queued')"""

_SILENT: Final = "due_at IS NULL AND sent_at < now() - %(age)s * interval '1 second'"

# Two ranges of one queue, in the order of the index: what is planned for later is in neither. `sent_at` is when a
# reference was last known to be on its way: sent, or seen alive by the runtime.
SUSPECTS: Final = f"""
SELECT id, task, queue, priority, dispatch_number, fence, invocation
FROM (({_SUSPECT.format(range=_LATE)}) UNION ALL ({_SUSPECT.format(range=_SILENT)})) AS suspects
ORDER BY due_at, sent_at LIMIT %(limit)s
"""

# The fence says that nobody claimed the row since it was read. Where it held a lease, that lease is lost.
SEND_AGAIN: Final = f"""
{FREE.format(condition="engine = %(engine)s AND phase IN ('queued', 'retrying', 'sleeping', 'waiting', 'running')")}, again AS (
    UPDATE tandem_execution AS execution
    SET phase = 'queued', due_at = now(), sent_at = NULL, broker_epoch = NULL, invocation = NULL, lease_expires_at = NULL,
        dispatch_number = execution.dispatch_number + seen.ended::int,
        attempts = attempts + (lease_expires_at IS NOT NULL)::int,
        lost_leases = lost_leases + (lease_expires_at IS NOT NULL)::int
    FROM unnest(%(ids)s::uuid[], %(fences)s::int[], %(dispatches)s::int[], %(ended)s::bool[], %(reasons)s::text[])
         AS seen(id, fence, dispatch_number, ended, reason) JOIN free USING (id)
    WHERE execution.id = seen.id AND execution.fence = seen.fence AND execution.dispatch_number = seen.dispatch_number
    RETURNING execution.id, seen.reason
), noted AS ({note("again", kind="reconciled", detail="reason || ': sent again'")})
SELECT id FROM again
"""

SEEN_ALIVE: Final = f"""
{FREE.format(condition=f"engine = %(engine)s AND phase NOT IN ({ENDED_SQL})")}
UPDATE tandem_execution AS execution SET sent_at = now()
FROM free WHERE execution.id = free.id
RETURNING execution.id
"""

NOT_SENT: Final = f"""
{FREE.format(condition="phase = 'queued'")}, refused AS (
    UPDATE tandem_execution AS execution
    SET sent_at = NULL, broker_epoch = NULL, due_at = now() + %(seconds)s * interval '1 second'
    FROM free WHERE execution.id = free.id
    RETURNING execution.id
), noted AS ({note("refused", kind="not sent", detail="%(why)s", once=True)})
SELECT id FROM refused
"""

RECONCILED: Final = f"""
WITH these AS (SELECT unnest(%(ids)s::uuid[]) AS id)
{note("these", kind="reconciled", detail="%(reason)s")} RETURNING execution_id
"""

UNFINISHED: Final = f"""
SELECT id, dispatch_number FROM tandem_execution
WHERE id = ANY(%(ids)s) AND engine = %(engine)s AND phase NOT IN ({ENDED_SQL}, 'parked')
"""

ENDED: Final = """
SELECT outcome, result::text, errors FROM tandem_execution
WHERE id = %(id)s AND outcome IS NOT NULL AND (%(invocation)s::text IS NULL OR invocation = %(invocation)s::text)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an execution ended. `result` is JSON text."""

    outcome: str
    result: str | None
    errors: list[dict[str, str]]


@statement(
    SUSPECTS,
    named(Reference, "id", "task", "queue", "priority", "dispatch_number", "fence", "invocation"),
)
def suspects(*, engine: str, queue: str, age: float, lease: float, limit: int) -> None:
    """Read rows of a queue that were on their way `age` seconds ago and whose lease, retry or sleep is overdue."""


def send_again(found: Mapping[Reference, tuple[bool, str]], *, engine: str) -> Statement[int]:
    """Make rows due that the runtime no longer has.

    `found` says whether their invocation ended, so that a new dispatch_number is needed, and the reason to record.
    """
    parameters: dict[str, Any] = {
        "engine": engine,
        "ids": [suspect.id for suspect in found],
        "fences": [suspect.fence for suspect in found],
        "dispatches": [suspect.dispatch_number for suspect in found],
        "ended": [ended for ended, _ in found.values()],
        "reasons": [reason for _, reason in found.values()],
    }
    return Statement("send_again", SEND_AGAIN, parameters, len)


@statement(SEEN_ALIVE, len)
def seen_alive(ids: Sequence[UUID], *, engine: str) -> None:
    """Note that the runtime has these: they are not asked for again until they are as old again."""


@statement(NOT_SENT, len)
def not_sent(ids: Sequence[UUID], *, seconds: float, why: str) -> None:
    """Have rows that the runtime refused sent again later, and record the reason, once."""


@statement(RECONCILED, len)
def reconciled(ids: Sequence[UUID], *, reason: str) -> None:
    """Record what was put right."""


@statement(UNFINISHED, lambda rows: {row[0]: row[1] for row in rows})
def unfinished(ids: Sequence[UUID], *, engine: str) -> None:
    """Read the dispatch number of those that are still to be driven by the runtime."""


@statement(ENDED, one(Ended))
def ended(id: UUID, *, invocation: str | None) -> None:  # noqa: A002  # the column
    """Read how an execution ended; None where it has not, or another invocation than the given one held it last."""
