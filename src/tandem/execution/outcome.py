"""How an attempt ended, for the engine that ran it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from tandem.declarations import TaskResult
from tandem.ledger.results import end
from tandem.ledger.rows import Claim, Error

__all__ = ["REFUSED", "Kind", "Outcome", "is_told"]

type Kind = Literal["succeeded", "failed", "dead", "cancelled", "retrying", "parked", "over", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt ended.

    `refused`: there was nothing to claim. `over`: it suspended or lost its lease, and recorded nothing more.
    `retrying` has the `delay` in seconds. `result` is JSON text, `error` what went wrong in a line; both are recorded.
    """

    kind: Kind
    claim: Claim | None = None
    result: str | None = None
    error: str = ""
    delay: float = 0.0
    finished_at: datetime | None = None
    failure: Error | None = None


REFUSED: Final = Outcome(kind="refused")


def is_told(result: TaskResult, outcome: Outcome) -> bool:
    """Whether `task_finished` tells of an outcome; then the result has it."""
    if outcome.finished_at is None:
        return False
    end(result, phase=outcome.kind, at=outcome.finished_at, value=outcome.result, error=outcome.failure)
    return True
