"""How much work there is for the workers of each queue: what the autoscaler reads. Nothing is locked."""

from dataclasses import dataclass
from typing import Final

from tandem.ledger.statement import statement

__all__ = ["MOST", "STARTS_SECONDS", "Load", "load", "waiting"]

# Counts stop here: far beyond what any pool could be scaled for, and cheap however long the backlog is.
MOST: Final = 5_000

STARTS_SECONDS: Final = 60.0
"""After so long an autoscaler that works has started who runs what waits."""

# Of a backlog the first rows say enough. Without an epoch `sent_at` is also when the runtime was last seen to have the
# row, however long nobody has run it.
WAITING: Final = """
SELECT count(*) FROM (
    SELECT 1 FROM tandem_execution
    WHERE engine = %(engine)s AND outcome IS NULL AND phase = 'queued' AND queue = COALESCE(%(queue)s::text, queue)
      AND CASE WHEN broker_epoch IS NULL AND sent_at IS NOT NULL THEN GREATEST(created_at, last_attempted_at) ELSE sent_at END
          < now() - %(seconds)s * interval '1 second'
    LIMIT 1000
) AS waiting
"""

# Two index ranges for each queue; what is deferred to later, sleeps or waits is in neither. What was sent is read from the
# oldest on, in the order of the index: behind a backlog longer than the most that is counted, nothing looks for what runs.
LOAD: Final = """
WITH RECURSIVE pairs AS (
    (SELECT queue FROM tandem_execution WHERE outcome IS NULL AND engine = %(engine)s ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (
        SELECT queue FROM tandem_execution
        WHERE outcome IS NULL AND engine = %(engine)s AND queue > pairs.queue ORDER BY queue LIMIT 1
    ) FROM pairs WHERE pairs.queue IS NOT NULL
)
SELECT pairs.queue, sent.queued + due.n, sent.running
FROM pairs
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE phase = 'queued') AS queued, count(*) FILTER (WHERE phase = 'running') AS running
    FROM (SELECT phase FROM tandem_execution WHERE engine = %(engine)s AND queue = pairs.queue AND outcome IS NULL
          AND due_at IS NULL AND phase IN ('queued', 'running') ORDER BY due_at, sent_at LIMIT %(most)s) AS counted) AS sent
CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
    SELECT FROM tandem_execution WHERE engine = %(engine)s AND queue = pairs.queue AND outcome IS NULL
    AND due_at <= now() AND phase IN ('queued', 'deferred', 'retrying', 'sleeping') LIMIT %(most)s) AS counted) AS due
WHERE pairs.queue IS NOT NULL
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Executions that wait for a place and that hold one."""

    queued: int = 0
    running: int = 0

    def __add__(self, other: "Load") -> "Load":
        return Load(queued=self.queued + other.queued, running=self.running + other.running)


@statement(LOAD, lambda rows: {row[0]: Load(queued=row[1], running=row[2]) for row in rows})
def load(*, engine: str, most: int = MOST) -> None:
    """The load of each queue with unfinished rows of an engine; a count beyond `most` reads as less than twice it.

    What is deferred, sleeps, waits, is held or parked needs no worker now and does not count.
    """


@statement(WAITING, lambda rows: int(rows[0][0]), seconds=STARTS_SECONDS)
def waiting(*, engine: str, queue: str | None = None) -> None:
    """Count what has waited for a process of an engine, of one queue or of all, for longer than it takes to start one."""
