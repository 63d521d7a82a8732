"""What the pages show of an execution, in plain words."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count

from showcase.emails.models import Batch, Recipient
from tandem.ledger.models import Execution, Phase

__all__ = [
    "OVER",
    "FinishedStep",
    "Line",
    "batch_lines",
    "batch_phases",
    "finished_steps",
    "plain_errors",
    "recent",
    "recipient_of",
]

OVER = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.DEAD, Phase.CANCELLED})
LISTED = 100
STEPS = 500


@dataclass(frozen=True, kw_only=True)
class Line:
    """One execution in a list. `email` and `name` are set for those of a batch."""

    execution: Execution
    to: str

    @property
    def seconds(self) -> float | None:
        """From enqueue to the end, once there is one."""
        finished: datetime | None = self.execution.finished_at
        return None if finished is None else (finished - self.execution.created_at).total_seconds()


@dataclass(frozen=True, kw_only=True)
class FinishedStep:
    """A step of an execution's timeline."""

    name: str
    kind: str
    finished_at: datetime
    seconds: float
    worker: str
    result: str


def finished_steps(execution: Execution) -> list[FinishedStep]:
    """The steps in the order in which the body made them."""
    return [
        FinishedStep(
            name=step.name,
            kind=step.kind,
            finished_at=step.finished_at,
            seconds=(step.finished_at - step.started_at).total_seconds(),
            worker=step.worker,
            result=json.dumps(step.result, ensure_ascii=False),
        )
        for step in execution.steps.filter(finished_at__isnull=False).order_by("position")[:STEPS]
        if step.finished_at is not None
    ]


def recipient_of(execution: Execution) -> str:
    """The address a `send_email` was called with, by position or by name; empty for other tasks."""
    if not execution.task.endswith(".send_email"):
        return ""
    positional = execution.arguments.get("args") or [""]
    return str(execution.arguments.get("kwargs", {}).get("recipient", positional[0]))


def recent(before: tuple[datetime, UUID] | None = None) -> list[Line]:
    """The newest executions, or the next older ones than the key of the last one shown."""
    executions = Execution.objects.defer("result", "errors").order_by("-created_at", "-id")
    if before is not None:
        created_at, pk = before
        # Written so that PostgreSQL starts in the index at created_at; an OR of both cases would not.
        executions = executions.filter(created_at__lte=created_at).exclude(created_at=created_at, id__gte=pk)
    return [Line(execution=execution, to=recipient_of(execution)) for execution in executions[:LISTED]]


def batch_phases(batch: Batch) -> list[tuple[str, int]]:
    """How many executions of a batch are in each phase, the fullest first."""
    executions = Execution.objects.filter(id__in=batch.recipients.values("execution"))
    counts = executions.values_list("phase").annotate(number=Count("id")).order_by("-number", "phase")
    return [(Phase(phase).label, number) for phase, number in counts]


def batch_lines(batch: Batch) -> list[tuple[Recipient, Execution | None]]:
    """The first recipients of a batch with their executions (None once pruned)."""
    people = list(batch.recipients.order_by("line")[:LISTED])
    executions = Execution.objects.in_bulk([person.execution for person in people])
    return [(person, executions.get(person.execution)) for person in people]


def plain_errors(tracebacks: Iterable[str]) -> list[str]:
    """What each failure said, without its traceback and without the path of its class."""
    return [_last_line(text) for text in tracebacks]


def _last_line(traceback: str) -> str:
    lines = [line for line in traceback.splitlines() if line and not line.startswith((" ", "\t"))]
    if not lines:
        return "No reason was recorded."
    kind, colon, words = lines[-1].partition(": ")
    return words if colon and " " not in kind else lines[-1]
