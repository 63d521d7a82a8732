"""Rows of the ledger as the results that callers see."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.tasks.base import TaskError

from tandem.declarations import ProgressValue, Task, TaskResult
from tandem.ledger.models import Execution, Phase, Progress
from tandem.ledger.rows import Claim, Error
from tandem.ledger.times import as_django
from tandem.phases import STATUS_OF_PHASE

__all__ = ["end", "result_of_claim", "result_of_row"]


def _errors(errors: Sequence[dict[str, str]]) -> list[TaskError]:
    return [TaskError(**error) for error in errors]


def result_of_claim(task: Task, claim: Claim) -> TaskResult:
    """The result as a running body sees it in `context.task_result`."""
    return TaskResult(
        task=task.called(queue_name=claim.queue, priority=claim.priority, owner=claim.owner),
        id=str(claim.id),
        status=STATUS_OF_PHASE["running"],
        enqueued_at=as_django(claim.created_at),
        started_at=as_django(claim.started_at),
        finished_at=None,
        last_attempted_at=as_django(claim.last_attempted_at),
        args=claim.arguments["args"],
        kwargs=claim.arguments["kwargs"],
        backend=task.backend,
        errors=_errors(claim.errors),
        worker_ids=claim.worker_ids,
        phase="running",
        engine=claim.engine,
        reason=claim.reason,
        owner=claim.owner,
    )


def end(result: TaskResult, *, phase: str, at: datetime, value: str | None, error: Error | None) -> None:
    """Write an end into the result that a body had, as its row has it; `value` is JSON."""
    ended: dict[str, Any] = {"phase": phase, "status": STATUS_OF_PHASE[phase], "finished_at": as_django(at)}
    if value is not None:
        ended["_return_value"] = json.loads(value)
    if error is not None:
        ended["errors"] = [*result.errors, TaskError(**error.as_json())]
    for name, what in ended.items():
        object.__setattr__(result, name, what)


def result_of_row(task: Task, row: Execution, progress: Progress | None) -> TaskResult:
    """The result of a row as it was read."""
    result = TaskResult(
        task=task.called(
            queue_name=row.queue,
            priority=row.priority,
            owner=row.owner,
            engine=row.engine if row.pinned else None,
            run_after=row.due_at if row.phase == Phase.DEFERRED else None,
        ),
        id=str(row.id),
        status=STATUS_OF_PHASE[row.phase],
        enqueued_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        last_attempted_at=row.last_attempted_at,
        args=row.arguments["args"],
        kwargs=row.arguments["kwargs"],
        backend=task.backend,
        errors=_errors(row.errors),
        worker_ids=row.worker_ids,
        phase=row.phase,
        engine=row.engine,
        reason=row.reason,
        owner=row.owner,
        progress=_progress(progress),
        cancelled_by=row.cancelled_by,
    )
    object.__setattr__(result, "_return_value", row.result)
    return result


def _progress(row: Progress | None) -> ProgressValue | None:
    if row is None:
        return None
    values: dict[str, Any] = {
        "current": row.current,
        "total": row.total,
        "message": row.message,
        "updated_at": row.updated_at,
    }
    return ProgressValue(**values)
