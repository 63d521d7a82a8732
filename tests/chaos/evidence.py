"""What the ledger knows beside its own columns: each claim, and what each guarded write could see.

Only the harness's own database is changed: a trigger logs claims, and two columns keep what cannot be told later.
"""

from collections.abc import Mapping
from typing import Final

from django.db import connection

from tandem.ledger.models import Execution
from tests.chaos.counting import Checkpoint, Claim, Evidence, Row
from tests.chaos.system import System

__all__ = ["gather", "instrument", "unfinished"]

# A function that is marked STABLE reads by the snapshot of the statement that fired it: the one of the fence check.
_INSTRUMENTS: Final = """
CREATE TABLE chaos_claim (
    execution_id uuid NOT NULL, fence integer NOT NULL, at timestamptz NOT NULL, transaction xid8 NOT NULL
);
CREATE INDEX chaos_claim_execution ON chaos_claim (execution_id);
CREATE TABLE chaos_effect (execution_id uuid NOT NULL, name text NOT NULL);
CREATE FUNCTION chaos_claimed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_claim VALUES (NEW.id, NEW.fence, clock_timestamp(), pg_current_xact_id());
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_claimed AFTER UPDATE ON tandem_execution
    FOR EACH ROW WHEN (NEW.fence > OLD.fence) EXECUTE FUNCTION chaos_claimed();

ALTER TABLE tandem_step ADD COLUMN chaos_snapshot pg_snapshot DEFAULT pg_current_snapshot();
CREATE FUNCTION chaos_answered() RETURNS trigger LANGUAGE plpgsql STABLE AS $$
BEGIN
    NEW.chaos_snapshot := pg_current_snapshot();
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_answered BEFORE UPDATE ON tandem_step
    FOR EACH ROW WHEN (OLD.kind IN ('waiting', 'calling') AND NEW.kind IN ('wait', 'timeout', 'call'))
    EXECUTE FUNCTION chaos_answered();

ALTER TABLE tandem_progress ADD COLUMN chaos_stale integer NOT NULL DEFAULT 0;
CREATE FUNCTION chaos_progressed() RETURNS trigger LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM chaos_claim WHERE execution_id = NEW.execution_id AND fence > NEW.current) THEN
        NEW.chaos_stale := NEW.chaos_stale + 1;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_progressed BEFORE INSERT OR UPDATE ON tandem_progress
    FOR EACH ROW EXECUTE FUNCTION chaos_progressed();
"""

_CHECKPOINTS: Final = """
SELECT step.execution_id, step.name, EXTRACT(EPOCH FROM step.finished_at)::float8,
       EXISTS (SELECT 1 FROM chaos_claim AS claim
               WHERE claim.execution_id = step.execution_id AND claim.fence > step.fence
                 AND pg_visible_in_snapshot(claim.transaction, step.chaos_snapshot))
FROM tandem_step AS step JOIN tandem_execution AS execution ON execution.id = step.execution_id
WHERE execution.owner = %s AND step.kind <> 'sleep'
"""

_CLAIMS: Final = """
SELECT claim.execution_id, claim.fence, EXTRACT(EPOCH FROM claim.at)::float8
FROM chaos_claim AS claim JOIN tandem_execution AS execution ON execution.id = claim.execution_id
WHERE execution.owner = %s ORDER BY claim.fence
"""

_STALE_PROGRESS: Final = """
SELECT execution_id, chaos_stale FROM tandem_progress
JOIN tandem_execution AS execution ON execution.id = execution_id
WHERE execution.owner = %s AND chaos_stale > 0
"""


_EFFECTS: Final = """
SELECT effect.execution_id, effect.name, count(*)
FROM chaos_effect AS effect JOIN tandem_execution AS execution ON execution.id = effect.execution_id
WHERE execution.owner = %s GROUP BY 1, 2
"""


def instrument() -> None:
    """Have the database keep what is counted; once, after its migrations."""
    with connection.cursor() as cursor:
        cursor.execute(_INSTRUMENTS)


def unfinished(owner: str) -> int:
    """How many rows of one fault's load are not over."""
    return Execution.objects.filter(owner=owner, outcome__isnull=True).count()


def gather(system: System, owner: str, acknowledged: Mapping[str, str]) -> Evidence:
    """Read everything of one fault's load."""
    with connection.cursor() as cursor:
        cursor.execute(_CHECKPOINTS, [owner])
        checkpoints = [
            Checkpoint(execution=str(id_), name=name, finished_at=at, is_stale=stale)
            for id_, name, at, stale in cursor.fetchall()
        ]
        cursor.execute(_CLAIMS, [owner])
        claims = [Claim(execution=str(id_), fence=fence, at=at) for id_, fence, at in cursor.fetchall()]
        cursor.execute(_STALE_PROGRESS, [owner])
        stale_progress = {str(id_): times for id_, times in cursor.fetchall()}
        cursor.execute(_EFFECTS, [owner])
        effects = {(str(id_), name): times for id_, name, times in cursor.fetchall()}
    return Evidence(
        acknowledged=acknowledged,
        rows=[_row(execution) for execution in Execution.objects.filter(owner=owner)],
        checkpoints=checkpoints,
        claims=claims,
        stale_progress=stale_progress,
        effects=effects,
        lines=system.lines(),
        deaths=dict(system.deaths),
    )


def _row(execution: Execution) -> Row:
    return Row(
        id=str(execution.id),
        engine=execution.engine,
        task=execution.task.rpartition(".")[2],
        phase=execution.phase,
        number=execution.arguments["args"][0],
        parent=None if execution.parent is None else str(execution.parent),
        result=execution.result,
        fence=execution.fence,
        attempts=execution.attempts,
        lost=execution.lost_leases,
        created_at=execution.created_at.timestamp(),
        finished_at=None if execution.finished_at is None else execution.finished_at.timestamp(),
        error=execution.errors[-1]["traceback"].rstrip().rpartition("\n")[2] if execution.errors else "",
    )
