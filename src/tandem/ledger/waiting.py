"""What an attempt reads and writes while its body waits, by name: for a signal, or for children.

A wait is an open step, so that a replay knows where it stands. `wake_generation` on the execution closes the gap between
looking and suspending: whatever a body may wait for raises it, and one that suspends says what it saw.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from tandem.ledger.attempt import HELD
from tandem.ledger.rows import Claim, Lease, LeaseCheck
from tandem.ledger.statement import Rows, Statement, statement

__all__ = [
    "Child",
    "ChildEnd",
    "Children",
    "Received",
    "answer_call",
    "children",
    "open_wait",
    "receive",
    "spawn",
    "suspend_waiting",
]

RECHECK_SECONDS: Final = 60.0
"""How often the relay looks at a waiting row that nobody woke: what a crash left unsaid comes out by then."""

_STEP: Final = "execution_id = %(id)s AND name = %(name)s AND occurrence = %(occurrence)s"

_HOLDER: Final = f"SELECT id, wake_generation, cancel_requested_at FROM tandem_execution WHERE {HELD}"

# Consuming the signal and recording it is one statement: no crash can come between.
RECEIVE: Final = f"""
WITH holder AS ({_HOLDER}), open AS (
    SELECT kind, result, finished_at FROM tandem_step WHERE {_STEP}
), next AS (
    SELECT signal.id FROM tandem_signal AS signal JOIN holder ON signal.execution_id = holder.id
    WHERE signal.name = %(signal)s AND signal.consumed_at IS NULL
      AND NOT EXISTS (SELECT FROM open WHERE kind <> 'waiting')
    ORDER BY signal.id LIMIT 1
), consumed AS (
    UPDATE tandem_signal AS signal SET consumed_at = now() FROM next
    WHERE signal.id = next.id AND signal.consumed_at IS NULL RETURNING signal.payload
), written AS (
    INSERT INTO tandem_step AS step (execution_id, name, occurrence, position, kind, result, started_at, finished_at,
                                     fence, worker)
    SELECT holder.id, %(name)s, %(occurrence)s, %(position)s, 'signal', consumed.payload, now(), now(), %(fence)s,
           %(worker)s::text
    FROM holder, consumed
    ON CONFLICT (execution_id, name, occurrence) DO UPDATE
    SET kind = 'wait', result = EXCLUDED.result, finished_at = now(), fence = EXCLUDED.fence, worker = EXCLUDED.worker
    WHERE step.kind = 'waiting'
    RETURNING kind, result
), given_up AS (
    UPDATE tandem_step SET kind = 'timeout', result = NULL, fence = %(fence)s, worker = %(worker)s::text FROM holder
    WHERE {_STEP} AND kind = 'waiting' AND finished_at <= now() AND NOT EXISTS (SELECT FROM consumed)
    RETURNING kind
)
SELECT (SELECT wake_generation FROM holder), (SELECT cancel_requested_at IS NOT NULL FROM holder),
       COALESCE((SELECT kind FROM written), (SELECT kind FROM given_up), (SELECT kind FROM open)),
       COALESCE((SELECT result FROM written), (SELECT result FROM open WHERE kind <> 'waiting')),
       (SELECT EXTRACT(EPOCH FROM finished_at - now())::float8 FROM open)
"""

OPEN_WAIT: Final = f"""
WITH holder AS ({_HOLDER}), written AS (
    INSERT INTO tandem_step (execution_id, name, occurrence, position, kind, result, started_at, finished_at, fence,
                             worker)
    SELECT id, %(name)s, %(occurrence)s, %(position)s, 'waiting', %(signal)s, now(),
           now() + %(seconds)s * interval '1 second', %(fence)s, %(worker)s::text
    FROM holder
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT (SELECT count(*) FROM holder), (SELECT count(*) FROM written),
       (SELECT cancel_requested_at IS NOT NULL FROM holder)
"""

SUSPEND_WAITING: Final = f"""
WITH holder AS (
    UPDATE tandem_execution
    SET phase = 'waiting', lease_expires_at = NULL,
        due_at = LEAST(now() + %(recheck)s * interval '1 second', (SELECT finished_at FROM tandem_step WHERE {_STEP}))
    WHERE id = %(id)s AND fence = %(fence)s AND phase = 'running' AND cancel_requested_at IS NULL AND wake_generation = %(wake_generation)s
    RETURNING id
), noted AS (
    UPDATE tandem_step SET result = result || %(known)s FROM holder
    WHERE {_STEP} AND kind IN ('waiting', 'calling') AND %(known)s <> '{{}}'
)
SELECT count(*) FROM holder
"""

# Children are the relay's to send, as all that was never sent. A parent that is to be cancelled has none any more: the
# lock, held for this statement alone, has a cancel either see them or be seen.
SPAWN: Final = f"""
WITH holder AS MATERIALIZED ({_HOLDER} FOR NO KEY UPDATE), opened AS (
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
WITH holder AS ({_HOLDER})
SELECT holder.wake_generation, holder.cancel_requested_at IS NOT NULL, wanted.id,
       CASE WHEN child.id IS NULL THEN 'gone' ELSE child.outcome END, child.result,
       CASE WHEN child.id IS NULL THEN 'Its row was deleted before its parent read how it ended.'
            ELSE child.errors -> -1 ->> 'traceback' END
FROM holder CROSS JOIN unnest(%(ids)s::uuid[]) AS wanted(id) LEFT JOIN tandem_execution AS child ON child.id = wanted.id
"""

ANSWER_CALL: Final = f"""
WITH holder AS ({_HOLDER}), written AS (
    UPDATE tandem_step SET kind = 'call', result = %(result)s, finished_at = now(), fence = %(fence)s,
                           worker = %(worker)s::text
    FROM holder WHERE {_STEP} AND kind = 'calling' RETURNING 1
)
SELECT (SELECT count(*) FROM holder), (SELECT count(*) FROM written),
       (SELECT cancel_requested_at IS NOT NULL FROM holder)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a wait found. `kind` is `signal`, `wait` or `timeout`: it is over; `waiting`: open; None: never opened."""

    held: bool
    wake_generation: int
    cancel_requested: bool
    kind: str | None
    payload: Any
    due_in: float | None


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


def _step(lease: Lease, *, name: str, occurrence: int, position: int = 0) -> dict[str, Any]:
    return {
        "id": lease.id,
        "fence": lease.fence,
        "name": name,
        "occurrence": occurrence,
        "position": position,
        "worker": lease.worker,
    }


def receive(lease: Lease, *, name: str, occurrence: int, position: int, signal: str) -> Statement[Received]:
    """Consume the oldest signal of a name and record it as this step's result; or say that there is none yet."""
    parameters = _step(lease, name=name, occurrence=occurrence, position=position) | {"signal": signal}
    return Statement("receive", RECEIVE, parameters, _read_received)


def _read_received(rows: Rows) -> Received:
    wake_generation, cancelled, kind, payload, due_in = rows[0]
    return Received(
        held=wake_generation is not None,
        wake_generation=wake_generation or 0,
        cancel_requested=bool(cancelled),
        kind=kind,
        payload=payload,
        due_in=due_in,
    )


def open_wait(
    lease: Lease, *, name: str, occurrence: int, position: int, signal: str, seconds: float | None
) -> Statement[LeaseCheck]:
    """Record that a wait begins, and when it gives up (None: never)."""
    parameters = _step(lease, name=name, occurrence=occurrence, position=position) | {
        "signal": Jsonb({"signal": signal}),
        "seconds": seconds,
    }
    return Statement("open_wait", OPEN_WAIT, parameters, LeaseCheck.read)


def suspend_waiting(
    lease: Lease,
    *,
    name: str,
    occurrence: int,
    wake_generation: int,
    awakeable: str | None,
    children: Sequence[UUID] = (),
) -> Statement[bool]:
    """Give up the lease until something comes; False where something did since `wake_generation`, or a cancel was asked for.

    `children` are those it waits for; `awakeable` is what wakes its invocation on Restate.
    """
    known = {"awakeable": awakeable, "children": [str(id_) for id_ in children]}
    parameters = _step(lease, name=name, occurrence=occurrence) | {
        "wake_generation": wake_generation,
        "known": Jsonb({key: value for key, value in known.items() if value}),
        "recheck": RECHECK_SECONDS,
    }
    return Statement("suspend_waiting", SUSPEND_WAITING, parameters, lambda rows: bool(rows[0][0]))


def spawn(claim: Claim, *, name: str, occurrence: int, position: int, born: Sequence[Child]) -> Statement[LeaseCheck]:
    """Insert children, once, and open the step that waits for them."""
    parameters = _step(claim.lease, name=name, occurrence=occurrence, position=position) | {
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
    parameters = _step(lease, name=name, occurrence=occurrence) | {"result": result}
    return Statement("answer_call", ANSWER_CALL, parameters, LeaseCheck.read)
