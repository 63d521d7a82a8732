"""Waking executions that wait: signals, children that ended, and the relay's own look at who could go on.

Locks: a signal none; a wake the one row; the relay's those that nobody else has locked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from tandem.ledger.hot.inserts import FREE
from tandem.ledger.rows import Reference
from tandem.ledger.statement import Statement, named, statement
from tandem.ledger.suspension.waits import RECHECK_SECONDS
from tandem.phases import ENDED_SQL

__all__ = ["CHANNEL", "Waiter", "look_again", "recheck", "send_signal", "wake", "wake_parent"]

CHANNEL: Final = "tandem_relay"
"""Relays listen to it: something is due now."""


# No lock on the execution: the sender's transaction may be long, and a lock would stop a process's heartbeat.
SEND_SIGNAL: Final = f"""
INSERT INTO tandem_signal (execution_id, name, payload, sent_at, sent_by)
SELECT id, %(name)s, %(payload)s, clock_timestamp(), %(by)s FROM tandem_execution
WHERE id = %(id)s AND phase NOT IN ({ENDED_SQL})
RETURNING id
"""

_WAKE: Final = f"""
UPDATE tandem_execution AS execution
SET wake_generation = wake_generation + 1, due_at = CASE WHEN phase = 'waiting' THEN now() ELSE due_at END
WHERE id = %(id)s AND phase NOT IN ({ENDED_SQL})
"""

WAKE: Final = f"""{_WAKE}
RETURNING pg_notify('{CHANNEL}', '')
"""

# What an execution waits at: the newest of its open steps. A body may have left an older one open.
_OPEN: Final = """
    SELECT kind, result, finished_at FROM tandem_step
    WHERE execution_id = {execution} AND kind IN ('waiting', 'calling') ORDER BY position DESC LIMIT 1
"""

# The children that step waits for, as its last suspension said, which have not ended. One that is gone has.
_AWAITED: Final = """
    SELECT FROM jsonb_array_elements_text(step.result -> 'children') AS awaited(id)
    JOIN tandem_execution AS child ON child.id = awaited.id::uuid WHERE child.finished_at IS NULL
"""

# Each child says so after its end is committed, so the last of those awaited sees that all others have ended.
WAKE_PARENT: Final = f"""{_WAKE}
  AND NOT EXISTS (SELECT FROM ({_OPEN.format(execution="execution.id")}) AS step WHERE EXISTS ({_AWAITED}))
RETURNING pg_notify('{CHANNEL}', '')
"""

RECHECK: Final = f"""
WITH due AS (
    SELECT id FROM tandem_execution
    WHERE engine = %(engine)s AND queue = %(queue)s AND due_at <= now() AND outcome IS NULL AND phase = 'waiting'
    ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), open AS MATERIALIZED (
    SELECT due.id, step.finished_at AS gives_up, step.result ->> 'awakeable' AS awakeable,
           step.finished_at <= now()
           OR step.kind = 'waiting' AND EXISTS (
               SELECT FROM tandem_signal AS signal
               WHERE signal.execution_id = due.id AND signal.name = step.result ->> 'signal'
                 AND signal.consumed_at IS NULL)
           OR step.kind = 'calling' AND NOT EXISTS ({_AWAITED}) AS ready
    FROM due CROSS JOIN LATERAL ({_OPEN.format(execution="due.id")}) AS step
)
UPDATE tandem_execution AS execution
SET phase = CASE WHEN open.ready IS TRUE AND %(sends)s THEN 'queued' ELSE phase END,
    sent_at = CASE WHEN open.ready IS TRUE AND %(sends)s THEN NULL ELSE sent_at END,
    due_at = CASE WHEN open.ready IS TRUE AND %(sends)s THEN now()
                  ELSE LEAST(now() + %(recheck)s * interval '1 second',
                             CASE WHEN open.ready IS TRUE THEN NULL ELSE open.gives_up END) END
FROM open WHERE execution.id = open.id
RETURNING execution.id, execution.task, execution.queue, execution.priority, execution.dispatch_number, execution.fence,
          execution.invocation, open.awakeable, open.ready IS TRUE
"""

LOOK_AGAIN: Final = f"""
{FREE.format(condition="phase = 'waiting'")}
UPDATE tandem_execution AS execution SET due_at = LEAST(due_at, now() + %(seconds)s * interval '1 second')
FROM free WHERE execution.id = free.id
RETURNING execution.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter(Reference):
    """A waiting row that was looked at; `ready`: what it waits for is there, or it gave up."""

    awakeable: str | None
    ready: bool


_WAITER: Final = ("id", "task", "queue", "priority", "dispatch_number", "fence", "invocation", "awakeable", "ready")


def send_signal(*, id: UUID, name: str, payload: Any, by: str | None) -> Statement[bool]:  # noqa: A002  # the column
    """Keep a signal for an execution until it is consumed; False where that is over, or there is none."""
    parameters = {"id": id, "name": name, "payload": Jsonb(payload), "by": by}
    return Statement("send_signal", SEND_SIGNAL, parameters, bool)


@statement(WAKE, bool)
def wake(id: UUID) -> None:  # noqa: A002  # the column
    """Say that something came which an execution may wait for, once that is committed."""


@statement(WAKE_PARENT, bool)
def wake_parent(id: UUID) -> None:  # noqa: A002  # the column
    """As `wake`, by a child that ended, for the last of them."""


@statement(RECHECK, named(Waiter, *_WAITER), recheck=RECHECK_SECONDS)
def recheck(*, engine: str, queue: str, limit: int, sends: bool) -> None:
    """Look at waiting rows that were woken, gave up, or were not looked at for a while.

    Those that are ready are queued, and due, where the relay `sends` them; else their engine is to wake what it holds.
    """


@statement(LOOK_AGAIN, len)
def look_again(ids: Sequence[UUID], *, seconds: float) -> None:
    """Have waiting rows looked at in so many seconds, if not before: they could not be woken."""
