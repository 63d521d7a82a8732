"""What is counted of one fault on one engine, from the ledger's rows and the side-effect log.

**Lost**: calls that were answered with an id of which there is no row; rows that did not succeed with the value their
body must answer, by the deadline, those of children included; and rows that succeeded though the log has no body of
theirs with their fence. No body fails by itself and none has retries: a row that is failed or dead counts, whatever
its error says. A parent must answer what its children's own rows say, and a child must have a parent: one row for each
child that it made, and no other. A waiter must answer the one signal that it was sent.

**Stale**: what was accepted from an attempt although a newer claim had committed before its fence was checked.
A trigger logs each claim with its transaction; a checkpoint's row keeps the snapshot that its statement, and so its
fence check, read by. A checkpoint counts where a claim with a higher fence is visible in that snapshot; progress
likewise, the fence being the value of the progress. A finish locks the row that it checks, so none may come from any
but the newest attempt: it counts where the result has another fence than the row.

**Again**: times that a step's function began after the step was recorded, that is later than its `finished_at`. What
a wait or a call was answered is recorded too, and counts as stale where an older attempt wrote it.

**Atomic**: atomic steps whose effect is not there exactly once where the step is recorded, or is there at all where
it is not; None where no atomic step was in the load.

**Extra**: attempts that no fault explains: failures, of which no body here has any, and lost leases beyond those of
bodies that were cut, of claims whose body never began, and of what lasted for a whole lease. On Restate a body that
was driven anew while it ran explains one too: its connection broke. So does one that ended while the ledger was away,
where nobody could write that it did.

**Cut**: bodies that never came to their end (their process died), which shows that the fault was real. *Resumed* is
the longest time from such a death to the next claim of the execution.

**First** and **all**: seconds from the end of the fault until the first execution finished, and until all that were
enqueued before then were finished.

**Stale bodies**: bodies that still ran when a newer body of the same execution had begun, and the longest time for
which they did. No lease can prevent that: a frozen process does not know that it was frozen. A body without an end in
the log is taken to have ended with its process, or with its process's last line.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from tests.chaos.log import Line

__all__ = ["ATOMIC_TASKS", "Body", "Checkpoint", "Claim", "Counts", "Evidence", "Row", "bodies", "count", "details"]


ATOMIC_TASKS: Final = frozenset({"atomic", "atomic_async"})
"""Tasks whose steps are all atomic."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """An execution as it ended. Times are seconds since the epoch."""

    id: str
    engine: str
    task: str
    phase: str
    number: int
    result: Mapping[str, Any] | None
    fence: int
    created_at: float
    finished_at: float | None
    attempts: int = 0
    lost: int = 0
    error: str = ""
    parent: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether it ended as every body here must; what it answers of its children is judged with their rows."""
        return (
            self.phase == "succeeded"
            and self.result is not None
            and self.result["number"] == self.number
            and self.result.get("heard", self.number) == self.number
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A recorded step; `is_stale`: a newer claim was visible to the statement that wrote it."""

    execution: str
    name: str
    finished_at: float
    is_stale: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    execution: str
    fence: int
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    (
        """All that is known of one fault's load. `acknowledged` are the ids that callers got, with their engine.

    `away` is from when to when the fault kept the ledger from answering.
    """
        ""
    )

    acknowledged: Mapping[str, str]
    rows: Sequence[Row]
    checkpoints: Sequence[Checkpoint]
    claims: Sequence[Claim]
    stale_progress: Mapping[str, int]
    lines: Sequence[Line]
    effects: Mapping[tuple[str, str], int] = field(default_factory=dict)
    deaths: Mapping[int, float] = field(default_factory=dict)
    away: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """One run of a body; `was_cut`: it never came to its end."""

    execution: str
    fence: int
    start: float
    end: float
    was_cut: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """One row of the table."""

    executions: int
    lost: int
    stale: int
    again: int
    atomic: int | None
    extra: int
    cut: int
    resumed: float | None
    first: float | None
    all: float | None
    stale_bodies: int
    overlap: float

    @property
    def is_sound(self) -> bool:
        """Whether every count that must be 0 is 0."""
        return not (self.lost or self.stale or self.again or self.atomic or self.extra)


def count(evidence: Evidence, engine: str, *, ended: float, lease: float) -> Counts:
    """Count for one engine; `ended` is when the fault was over, `lease` in seconds."""
    rows = [row for row in evidence.rows if row.engine == engine]
    ids = {row.id for row in rows}
    acknowledged = {id_ for id_, of in evidence.acknowledged.items() if of == engine}
    ran = [body for body in bodies(evidence.lines, evidence.deaths) if body.execution in ids]
    overlaps = list(_overlaps(ran))
    finished = [row.finished_at for row in rows if row.finished_at is not None]
    before = [row.finished_at for row in rows if row.finished_at is not None and row.created_at <= ended]
    return Counts(
        executions=len(ids | acknowledged),
        lost=len(acknowledged - ids) + len(_wrong(evidence, rows)),
        stale=_stale(evidence, rows),
        again=sum(1 for _ in _begun_again(evidence, ids)),
        atomic=_atomic(evidence, rows),
        extra=sum(_extra(evidence, rows, ran, lease).values()),
        cut=sum(body.was_cut for body in ran),
        resumed=_resumed(ran, evidence.claims),
        first=min((at - ended for at in finished if at >= ended), default=None),
        all=max((at - ended for at in before if at >= ended), default=0.0 if before else None),
        stale_bodies=len(overlaps),
        overlap=max(overlaps, default=0.0),
    )


def details(evidence: Evidence, engine: str, *, lease: float) -> Iterator[str]:
    """Name what was lost or ran again, for whoever looks for the cause."""
    rows = {row.id: row for row in evidence.rows if row.engine == engine}
    for id_, of in evidence.acknowledged.items():
        if of == engine and id_ not in rows:
            yield f"{id_} was answered and has no row"
    for row, why in _wrong(evidence, list(rows.values())):
        yield f"{row.id} {row.task} {why}"
    ran = [body for body in bodies(evidence.lines, evidence.deaths) if body.execution in rows]
    for id_, times in _extra(evidence, list(rows.values()), ran, lease).items():
        yield f"{id_} {rows[id_].task} has {times} attempt(s) that nothing explains"
    for line in _begun_again(evidence, set(rows)):
        yield f"{line.execution} ran step {line.name!r} again, with fence {line.fence} in process {line.pid}"


def bodies(lines: Sequence[Line], deaths: Mapping[int, float]) -> list[Body]:
    """Every run of a body, in the order of their starts."""
    last: dict[int, float] = {}
    starts: dict[tuple[int, str, int], float] = {}
    ends: dict[tuple[int, str, int], float] = {}
    for line in lines:
        last[line.pid] = line.at
        key = (line.pid, line.execution, line.fence)
        if line.event == "body-start":
            starts[key] = line.at
        elif line.event == "body-end":
            ends[key] = line.at
    return [
        Body(
            execution=key[1],
            fence=key[2],
            start=start,
            end=ends[key] if key in ends else max(start, deaths.get(key[0], last[key[0]])),
            was_cut=key not in ends,
        )
        for key, start in sorted(starts.items(), key=lambda item: item[1])
    ]


def _wrong(evidence: Evidence, rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """The rows that are lost, and why."""
    ran = {(line.execution, line.fence) for line in evidence.lines if line.event == "body-start"}
    born: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.parent is not None:
            born[row.parent].append(row)
    ids = {row.id for row in rows}
    reasons = ((row, _what_is_wrong(row, born[row.id], ids, ran)) for row in rows)
    return [(row, why) for row, why in reasons if why]


def _what_is_wrong(row: Row, children: Sequence[Row], ids: AbstractSet[str], ran: AbstractSet[tuple[str, int]]) -> str:
    if not row.is_right:
        return f"is {row.phase} with fence {row.fence}: {row.error or row.result}"
    if (row.id, row.fence) not in ran:
        return f"succeeded with fence {row.fence}, and no body ran for it"
    if row.parent is not None and row.parent not in ids:
        return f"is the child of {row.parent}, of which there is no row"
    answered = [] if row.result is None else row.result.get("children", [])
    recorded = [child.result for child in sorted(children, key=lambda child: child.number)]
    return "" if recorded == answered else f"answered {answered}, but its children {recorded}"


def _overlaps(ran: Sequence[Body]) -> Iterator[float]:
    """For each body that a newer one of its execution began beside: for how long it still ran."""
    by_execution: defaultdict[str, list[Body]] = defaultdict(list)
    for body in ran:
        by_execution[body.execution].append(body)
    for runs in by_execution.values():
        for place, older in enumerate(runs[:-1]):
            newer = runs[place + 1]
            if newer.start < older.end:
                yield older.end - newer.start


def _stale(evidence: Evidence, rows: Sequence[Row]) -> int:
    ids = {row.id for row in rows}
    checkpoints = sum(item.is_stale for item in evidence.checkpoints if item.execution in ids)
    progress = sum(times for id_, times in evidence.stale_progress.items() if id_ in ids)
    finishes = sum(1 for row in rows if row.result is not None and row.result["fence"] != row.fence)
    return checkpoints + progress + finishes


def _extra(evidence: Evidence, rows: Sequence[Row], ran: Sequence[Body], lease: float) -> dict[str, int]:
    """How many attempts of each execution nothing explains, where there are any."""
    of_fence = {(body.execution, body.fence): body for body in ran}
    claims: defaultdict[str, list[Claim]] = defaultdict(list)
    for claim in sorted(evidence.claims, key=lambda claim: claim.fence):
        claims[claim.execution].append(claim)
    found = {}
    for row in rows:
        explained = 0
        for older, newer in pairwise(claims[row.id]):
            body = of_fence.get((row.id, older.fence))
            beside = body is not None and row.engine == "restate" and body.end > newer.at
            unwritten = body is not None and evidence.away[0] <= body.end <= evidence.away[1]
            explained += body is None or body.was_cut or beside or unwritten or newer.at - older.at >= lease
        found[row.id] = row.attempts - row.lost + max(0, row.lost - explained)
    return {id_: times for id_, times in found.items() if times}


def _atomic(evidence: Evidence, rows: Sequence[Row]) -> int | None:
    ids = {row.id for row in rows if row.task in ATOMIC_TASKS}
    if not ids:
        return None
    recorded = {(item.execution, item.name) for item in evidence.checkpoints if item.execution in ids}
    effects = {place: times for place, times in evidence.effects.items() if place[0] in ids}
    wrong = sum(effects.get(place, 0) != 1 for place in recorded)
    return wrong + sum(place not in recorded for place in effects)


def _begun_again(evidence: Evidence, ids: set[str]) -> Iterator[Line]:
    recorded = {(item.execution, item.name): item.finished_at for item in evidence.checkpoints if item.execution in ids}
    for line in evidence.lines:
        if line.event == "step-start" and line.at > recorded.get((line.execution, line.name), float("inf")):
            yield line


def _resumed(ran: Sequence[Body], claims: Sequence[Claim]) -> float | None:
    claimed: defaultdict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        claimed[claim.execution].append(claim)
    waits = (
        min((claim.at - body.end for claim in claimed[body.execution] if claim.fence > body.fence), default=None)
        for body in ran
        if body.was_cut
    )
    return max((wait for wait in waits if wait is not None), default=None)
