"""What the pages show of an execution, in plain words."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.tasks import default_task_backend
from django.tasks.exceptions import TaskResultDoesNotExist

from showcase.forms import EngineForm
from tandem.declarations import TaskResult
from tandem.exceptions import UnknownTask
from tandem.ledger.models import Execution, Phase, Step

__all__ = [
    "LISTED",
    "OVER",
    "FinishedStep",
    "Line",
    "finished_steps",
    "owner_of",
    "plain_errors",
    "recent",
    "result_of",
    "title_of",
    "visible",
    "watched",
]

OVER: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.DEAD, Phase.CANCELLED})
LISTED: Final = 100
STEPS: Final = 500


@dataclass(frozen=True, kw_only=True)
class Line:
    """One execution in a list."""

    execution: Execution
    title: str

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


def owner_of(request: HttpRequest) -> str | None:
    """Who owns what this visitor enqueues; nobody where they did not sign in."""
    return str(request.user.pk) if request.user.is_authenticated else None


def result_of(request: HttpRequest, pk: UUID) -> TaskResult:
    """Find an execution that this visitor may see: their own, or any for staff. Raises `Http404` for any other."""
    try:
        result = cast("TaskResult", default_task_backend.get_result(str(pk)))
    except TaskResultDoesNotExist:
        raise _absent(pk) from None
    except UnknownTask as error:
        raise Http404(str(error)) from None
    if not visible(request, Execution.objects.filter(pk=result.id)).exists():
        raise _absent(pk)
    return result


def _absent(pk: UUID) -> Http404:
    return Http404(f"There is no execution {pk}: it was never committed, it was pruned, or it is somebody else's.")


def watched(result: TaskResult) -> dict[str, Any]:
    """What `executions/part.html` shows, and what may be done."""
    row = get_object_or_404(Execution, pk=result.id)
    over = result.phase in OVER
    return {
        "result": result,
        "execution": row,
        "title": title_of(row),
        "phase": row.get_phase_display(),
        "over": over,
        "attempt": row.attempts + (0 if over and result.phase != "succeeded" else 1),
        "steps": finished_steps(row),
        "errors": plain_errors(error.traceback for error in result.errors),
        "engine_form": EngineForm(),
        "retryable": (over and result.phase != "succeeded") or result.phase == "parked",
    }


def finished_steps(execution: Execution) -> list[FinishedStep]:
    """The steps in the order in which the body made them."""
    return [
        FinishedStep(
            name=step.name,
            kind=step.kind,
            finished_at=step.finished_at,
            seconds=(step.finished_at - step.started_at).total_seconds(),
            worker=step.worker,
            result=json.dumps(_told(step), ensure_ascii=False),
        )
        for step in execution.steps.filter(finished_at__isnull=False).order_by("position")[:STEPS]
        if step.finished_at is not None
    ]


def _told(step: Step) -> Any:
    """What a step answered; of children how each ended, without their tracebacks."""
    if step.kind == "call":
        return [outcome if result is None else result for outcome, result, _ in step.result or ()]
    return step.result


def title_of(execution: Execution) -> str:
    """The address where it is an email's, else the task's name."""
    if not execution.task.endswith(".send_email"):
        return execution.task.removeprefix("showcase.")
    positional = execution.arguments.get("args") or [""]
    recipient = execution.arguments.get("kwargs", {}).get("recipient", positional[0])
    return f"Email to {recipient}"


def recent(request: HttpRequest, before: tuple[datetime, UUID] | None = None) -> list[Line]:
    """The newest executions that this visitor may see, or the next older ones than the key of the last one shown."""
    executions = visible(request, Execution.objects.all()).defer("result", "errors").order_by("-created_at", "-id")
    if before is not None:
        created_at, pk = before
        # Written so that PostgreSQL starts in the index at created_at; an OR of both cases would not.
        executions = executions.filter(created_at__lte=created_at).exclude(created_at=created_at, id__gte=pk)
    return [Line(execution=execution, title=title_of(execution)) for execution in executions[:LISTED]]


def visible[M: Model](request: HttpRequest, rows: QuerySet[M], owner: str = "owner") -> QuerySet[M]:
    """Of `rows`, those that this visitor may see: their own, by the field `owner`; all for staff, none for anybody else."""
    if not request.user.is_authenticated:
        return rows.none()
    return rows if request.user.is_staff else rows.filter(**{owner: request.user.pk})


def plain_errors(tracebacks: Iterable[str]) -> list[str]:
    """What each failure said, without its traceback and without the path of its class."""
    return [_last_line(text) for text in tracebacks]


def _last_line(traceback: str) -> str:
    lines = [line for line in traceback.splitlines() if line and not line.startswith((" ", "\t"))]
    if not lines:
        return "No reason was recorded."
    kind, colon, words = lines[-1].partition(": ")
    return words if colon and " " not in kind else lines[-1]
