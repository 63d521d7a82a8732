"""One call of a task as it is enqueued: the row that keeps it, and the result that its caller gets."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, overload
from uuid import UUID

from tandem.engines.base import Engine
from tandem.ledger.rows import NewExecution
from tandem.ledger.times import as_django, in_utc
from tandem.routing import Decision
from tandem.task import STATUS_OF_PHASE, Task, TaskResult
from tandem.telemetry import current_trace

__all__ = ["Call", "LazyResults", "result_of_call", "row_of_call"]

type Call = tuple[Sequence[Any], Mapping[str, Any]]


def row_of_call(arguments: str, *, task: Task, decision: Decision, id_: UUID, engine: Engine) -> NewExecution:
    """The row that keeps a call whose encoded arguments are given; `engine` is the one that `decision` names."""
    due_at = None if task.run_after is None else in_utc(task.run_after)
    deferred = due_at is not None and due_at > datetime.now(UTC)
    phase = "held" if decision.held else "deferred" if deferred else "queued"
    return NewExecution(
        id=id_,
        task=task.module_path,
        queue=task.queue_name,
        priority=task.priority,
        arguments=arguments,
        engine=decision.engine,
        reason=decision.reason[:255],
        pinned=task.engine is not None,
        phase=phase,
        owner=task.owner,
        trace=current_trace(),
        idempotency_key=task.idempotency_key,
        due_at=due_at.astimezone(UTC) if due_at is not None and deferred else None,
        broker_epoch=engine.epoch() if phase == "queued" else None,
    )


def result_of_call(
    arguments: str, *, task: Task, row: NewExecution, id_: UUID, created: datetime, backend: str
) -> TaskResult:
    """The result of a call that is kept in `row`, but for its id and arguments: the calls of one batch share their row.

    It is what the row says, and so what a reader gets: the arguments as JSON has them, and no time that is over.
    """
    return TaskResult(
        task=task.called(idempotency_key=None, run_after=None if row.due_at is None else as_django(row.due_at)),
        id=str(id_),
        status=STATUS_OF_PHASE[row.phase],
        enqueued_at=as_django(created),
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        **json.loads(arguments),
        backend=backend,
        errors=[],
        worker_ids=[],
        phase=row.phase,
        engine=row.engine,
        reason=row.reason,
        owner=row.owner,
    )


class LazyResults(Sequence[TaskResult]):
    """The results of many calls; each is made when it is first looked at, since few callers look at 10,000."""

    def __init__(self, make: Callable[[int], TaskResult], *, count: int) -> None:
        self._make = make
        self._made: list[TaskResult | None] = [None] * count

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, index: int) -> TaskResult: ...
    @overload
    def __getitem__(self, index: slice) -> list[TaskResult]: ...
    def __getitem__(self, index: int | slice) -> TaskResult | list[TaskResult]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self._made))[index]
        made = self._made[at]
        if made is None:
            made = self._made[at] = self._make(at)
        return made
