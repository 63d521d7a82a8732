"""The ledger's invariants, in one place: each is a check of one statement's change, whoever sent it and when.

A statement that names a fence is an attempt's; any other is a relay's, a parent's of a pool, or a person's.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from tandem.ledger.rows import Claim
from tandem.ledger.statement import Rows, Statement

__all__ = ["INVARIANTS", "Change", "Snapshot", "snapshot"]

_ENDED: Final = {"succeeded", "failed", "dead", "cancelled"}
_OPEN: Final = {"waiting": {"waiting", "wait", "timeout"}, "calling": {"calling", "call"}}
_ANSWERED_BY_SIGNAL: Final = {"signal", "wait"}
_FOR_A_PERSON: Final = {"parked", "held"}

# Times of steps are left out: a test lets time pass by moving them.
_SNAPSHOT: Final = """
SELECT (SELECT COALESCE(jsonb_object_agg(id, to_jsonb(row)), '{}') FROM tandem_execution AS row),
       (SELECT COALESCE(jsonb_agg(to_jsonb(row) - 'started_at' - 'finished_at' ORDER BY position), '[]')
        FROM tandem_step AS row),
       (SELECT COALESCE(jsonb_agg(to_jsonb(row) ORDER BY id), '[]') FROM tandem_signal AS row),
       (SELECT COALESCE(jsonb_agg(to_jsonb(row) ORDER BY execution_id), '[]') FROM tandem_progress AS row)
"""

type Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every row of the ledger at one moment."""

    executions: dict[str, Row]
    steps: list[Row]
    signals: list[Row]
    progress: list[Row]

    def step(self, wanted: Row) -> Row | None:
        """The same step as `wanted`, as it was at this moment."""
        key = ("execution_id", "name", "occurrence")
        return next((step for step in self.steps if all(step[part] == wanted[part] for part in key)), None)


@dataclass(frozen=True, slots=True)
class Change:
    """One statement, what it answered, and the ledger before and after it."""

    statement: Statement[Any]
    answer: Any
    before: Snapshot
    after: Snapshot

    @property
    def name(self) -> str:
        """The statement's name."""
        return self.statement.name

    def rows(self) -> list[tuple[Row, Row]]:
        """Each execution that was there before, as it was and as it is."""
        return [(row, self.after.executions[id_]) for id_, row in self.before.executions.items()]


def snapshot() -> Statement[Snapshot]:
    """Read the whole ledger in one statement."""

    def read(rows: Rows) -> Snapshot:
        return Snapshot(*rows[0])

    return Statement("snapshot", _SNAPSHOT, {}, read)


def at_most_one_fence_is_current(change: Change) -> None:
    """A claim answers a fence above all before it, of a row that could run: whoever claimed earlier is stale."""
    if not isinstance(change.answer, Claim):
        return
    before, after = (side.executions[str(change.answer.id)] for side in (change.before, change.after))
    assert before["fence"] < change.answer.fence == after["fence"]
    assert before["outcome"] is None
    assert after["phase"] == "running"


def a_stale_attempt_changes_nothing(change: Change) -> None:
    """What an attempt with an older fence writes after a newer claim, or a retry by hand, leaves every row as it was."""
    fence, id_ = (change.statement.parameters.get(name) for name in ("fence", "id"))
    if fence is not None and isinstance(id_, UUID) and fence < change.before.executions[str(id_)]["fence"]:
        assert change.after == change.before


def a_recorded_step_stays(change: Change) -> None:
    """No step vanishes or moves; an open one is answered once; only a retry by hand opens a call that failed again."""
    for was in change.before.steps:
        step = change.after.step(was)
        assert step is not None
        assert step["position"] == was["position"]
        if was["kind"] in _OPEN:
            assert step["kind"] in _OPEN[was["kind"]]
        elif change.name == "retry" and step["kind"] == "calling":
            assert was["kind"] == "call"
            assert any(outcome != "succeeded" for outcome, _, _ in was["result"])
        else:
            assert step == was


def what_ended_stays_ended(change: Change) -> None:
    """Nothing but a retry by hand changes an execution that ended; its phase is its outcome, with a time."""
    for was, row in change.rows():
        if was["outcome"] is not None and change.name != "retry":
            assert row == was
        assert was["outcome"] != "succeeded" or row == was
        assert (row["phase"] in _ENDED) == (row["outcome"] is not None) == (row["finished_at"] is not None)
        assert row["outcome"] in {None, row["phase"]}


def attempts_count_failures_and_lost_leases(change: Change) -> None:
    """`attempts` and `lost` go up by what this statement says was lost or failed, and by nothing else."""
    for was, row in change.rows():
        if change.name == "retry" and row["fence"] > was["fence"]:
            assert (row["attempts"], row["lost_leases"]) == (0, 0)
            continue
        lost = int(_lost_a_lease(change, was, row))
        assert row["lost_leases"] == was["lost_leases"] + lost, change.name
        assert row["attempts"] == was["attempts"] + lost + int(_failed(change, was, row)), change.name


def _lost_a_lease(change: Change, was: Row, row: Row) -> bool:
    """It ran with a lease, and somebody else took it on: not released, not suspended, not ended by its own attempt."""
    taken = change.name in {"requeue_expired", "requeue_dead", "claim_invocation", "send_again"} and row != was
    return taken and was["phase"] == "running" and was["lease_expires_at"] is not None


def _failed(change: Change, was: Row, row: Row) -> bool:
    parameters = change.statement.parameters
    if parameters.get("id") != UUID(was["id"]) or row == was:
        return False
    failed = change.name == "finish" and parameters["outcome"] in {"failed", "dead"}
    return failed or (change.name == "retry_later" and bool(parameters["counted"]))


def numbers_never_go_down(change: Change) -> None:
    """`fence`, `dispatch_number` and `wake_generation` only go up, whatever happens to the row; a claim raises the fence by one."""
    for was, row in change.rows():
        for name in ("fence", "dispatch_number", "wake_generation"):
            assert was[name] <= row[name] <= was[name] + 1


def signals_are_consumed_once_and_in_order(change: Change) -> None:
    """The consumed signals of a name are its oldest, and the steps they answered have each of them, in order."""
    for was, signal in zip(change.before.signals, change.after.signals, strict=False):
        assert signal == was or was["consumed_at"] is None
    consumed: dict[tuple[str, str], list[Any]] = defaultdict(list)
    kept = set()
    for signal in change.after.signals:
        key = (signal["execution_id"], signal["name"])
        if signal["consumed_at"] is None:
            kept.add(key)
        else:
            assert key not in kept
            consumed[key].append(signal["payload"])
    answered: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for step in change.after.steps:
        if step["kind"] in _ANSWERED_BY_SIGNAL:
            answered[step["execution_id"], step["name"]].append(step["result"])
    assert answered == consumed


def what_is_unfinished_is_reachable(change: Change) -> None:
    """Some statement of a relay finds each unfinished row, in time: it is sent, due, held by a lease, or a person's."""
    for row in change.after.executions.values():
        if row["outcome"] is None and row["phase"] not in _FOR_A_PERSON:
            assert _reachable(row, change.after), f"After {change.name} no relay would find {row}"


def _reachable(row: Row, ledger: Snapshot) -> bool:
    due, sent = row["due_at"] is not None, row["sent_at"] is not None
    if row["phase"] == "queued":
        return due or sent
    if row["phase"] == "running" and row["engine"] == "celery":
        # `expired` walks what was sent and is not due.
        return row["lease_expires_at"] is not None and sent and not due
    if row["phase"] == "running":
        return due or sent
    if row["phase"] == "waiting":
        return due and any(step["execution_id"] == row["id"] and step["kind"] in _OPEN for step in ledger.steps)
    return due


INVARIANTS: Final[tuple[Callable[[Change], None], ...]] = (
    at_most_one_fence_is_current,
    a_stale_attempt_changes_nothing,
    a_recorded_step_stays,
    what_ended_stays_ended,
    attempts_count_failures_and_lost_leases,
    numbers_never_go_down,
    signals_are_consumed_once_and_in_order,
    what_is_unfinished_is_reachable,
)
