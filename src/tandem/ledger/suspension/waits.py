"""A wait's statements: what an attempt reads and writes while its body waits for a signal.

A wait is an open step, so that a replay knows where it stands. `wake_generation` on the execution closes the gap between
looking and suspending: whatever a body may wait for raises it, and one that suspends says what it saw.
Locks: `suspend_waiting` the execution's row, the others none; two that receive one signal meet at its row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from tandem.ledger.rows import Lease, LeaseCheck
from tandem.ledger.statement import Rows, Statement
from tandem.ledger.suspension.open_steps import HOLDER, STEP, step_parameters

__all__ = ["RECHECK_SECONDS", "Received", "open_wait", "receive", "suspend_waiting"]

RECHECK_SECONDS: Final = 60.0
"""How often the relay looks at a waiting row that nobody woke: what a crash left unsaid comes out by then."""

# Consuming the signal and recording it is one statement: no crash can come between.
RECEIVE: Final = f"""
WITH holder AS ({HOLDER}), open AS (
    SELECT kind, result, finished_at FROM tandem_step WHERE {STEP}
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
    WHERE {STEP} AND kind = 'waiting' AND finished_at <= now() AND NOT EXISTS (SELECT FROM consumed)
    RETURNING kind
)
SELECT (SELECT wake_generation FROM holder), (SELECT cancel_requested_at IS NOT NULL FROM holder),
       COALESCE((SELECT kind FROM written), (SELECT kind FROM given_up), (SELECT kind FROM open)),
       COALESCE((SELECT result FROM written), (SELECT result FROM open WHERE kind <> 'waiting')),
       (SELECT EXTRACT(EPOCH FROM finished_at - now())::float8 FROM open)
"""

OPEN_WAIT: Final = f"""
WITH holder AS ({HOLDER}), written AS (
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
        due_at = LEAST(now() + %(recheck)s * interval '1 second', (SELECT finished_at FROM tandem_step WHERE {STEP}))
    WHERE id = %(id)s AND fence = %(fence)s AND phase = 'running' AND cancel_requested_at IS NULL AND wake_generation = %(wake_generation)s
    RETURNING id
), noted AS (
    UPDATE tandem_step SET result = result || %(known)s FROM holder
    WHERE {STEP} AND kind IN ('waiting', 'calling') AND %(known)s <> '{{}}'
)
SELECT count(*) FROM holder
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


def receive(lease: Lease, *, name: str, occurrence: int, position: int, signal: str) -> Statement[Received]:
    """Consume the oldest signal of a name and record it as this step's result; or say that there is none yet."""
    parameters = step_parameters(lease, name=name, occurrence=occurrence, position=position) | {"signal": signal}
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
    parameters = step_parameters(lease, name=name, occurrence=occurrence, position=position) | {
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
    parameters = step_parameters(lease, name=name, occurrence=occurrence) | {
        "wake_generation": wake_generation,
        "known": Jsonb({key: value for key, value in known.items() if value}),
        "recheck": RECHECK_SECONDS,
    }
    return Statement("suspend_waiting", SUSPEND_WAITING, parameters, lambda rows: bool(rows[0][0]))
