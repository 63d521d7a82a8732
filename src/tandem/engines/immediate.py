"""The immediate engine: runs a body in place, as Django's ImmediateBackend does; for unit tests and scripts."""

import json
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any, Final, Literal
from uuid import UUID

from asgiref.sync import async_to_sync
from django.tasks.base import TaskError
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_finished, task_started
from django.utils import timezone

from tandem import registry
from tandem.declarations import ProgressValue, TaskResult
from tandem.engines.base import CAPABILITIES
from tandem.engines.memory import RETRIED, MemoryEngine, put
from tandem.engines.remembered import Remembered
from tandem.exceptions import Cancelled, OrderChanged, Permanent
from tandem.execution.attempt import Attempt, as_json
from tandem.execution.calls import Calls, open_transactions
from tandem.execution.context import AsyncContext, Context
from tandem.execution.drivers import drive
from tandem.execution.durable import Durable
from tandem.execution.retry import after_failure
from tandem.ledger.rows import Claim, Error
from tandem.ledger.suspension.families import Child, ChildEnd
from tandem.phases import ENDED, STATUS_OF_PHASE

__all__ = ["ImmediateEngine"]

_WORKER: Final = "immediate"


class ImmediateEngine(MemoryEngine):
    """Runs each call in the caller's thread before `enqueue` returns, its retries at once.

    Durable calls are those of any engine, answered from memory: a finished step is not run again, a sleep is over at
    once, children run in place. What waits for a signal is left `waiting`; `result.signal` runs it on, and
    `time_out` has it wait no longer.
    """

    name = "immediate"
    supports = CAPABILITIES - {"defer", "external", "hard_time_limit"}

    def __init__(self, configuration: Any) -> None:
        super().__init__(configuration)
        self._records: dict[str, _Record] = {}

    def accept(self, result: TaskResult, *, key: str | None = None) -> TaskResult:
        """As every engine of memory; what it knew of results that were rolled back goes."""
        standing = {kept.id for kept in self.results} | {result.id}
        self._records = {
            id_: record
            for id_, record in self._records.items()
            if id_ in standing or (record.parent is not None and record.parent.id in standing)
        }
        return super().accept(result, key=key)

    def run(self, result: TaskResult) -> None:
        """Run the body to its end, as often as its policy says, and write that into the result.

        A call that is held stays as it is. Only KeyboardInterrupt comes out.
        """
        record = self._record(result)
        while self._takes(result, record):
            self._run_once(result, record)
        if result.phase in ENDED and record.parent is not None:
            self.run(record.parent)

    def _takes(self, result: TaskResult, record: "_Record") -> bool:
        """Take a result that can go on, for this thread alone."""
        with self._lock:
            new = result.phase in {"queued", "retrying"}
            if not new and not (result.phase == "waiting" and record.ready):
                return False
            now = timezone.now()
            put(result, phase="running", started_at=result.started_at or now, last_attempted_at=now)
            if new:
                result.worker_ids.append(_WORKER)
            return True

    def signal_result(self, result: TaskResult, name: str, payload: Any, *, by: str | None) -> None:
        """As every engine of memory; a body that waits for it goes on, in place, before this returns."""
        super().signal_result(result, name, payload, by=by)
        self._record(result).signals.append((name, payload))
        self.run(result)

    def time_out(self, result: TaskResult) -> None:
        """Let the timeout of what a result's body waits for be over, and run it on; for tests, which do not wait."""
        kept = self.result(result.id)
        if kept is None:
            raise TaskResultDoesNotExist(result.id)
        self._record(kept).time_out()
        self.run(kept)

    def cancel_result(self, result: TaskResult, *, by: str | None) -> Literal["cancelled", "requested", "finished"]:
        """Cancel what waits, with its unfinished children, and have a body that runs hear of it at its next call."""
        record = self._record(result)
        if result.phase == "running":
            put(result, cancelled_by=by)
            record.cancel_requested = True
            if record.attempt is not None:
                record.attempt.cancel_requested = True
        done = "requested" if result.phase == "running" else super().cancel_result(result, by=by)
        for child in list(record.children.values()):
            if child.phase not in ENDED:
                self.cancel_result(child, by=by)
        if done == "cancelled":
            self.run(result)
        return done

    def retry_result(self, result: TaskResult, *, engine: str | None) -> None:
        """As every engine of memory, from the last finished step; it waits once more for what timed out or failed."""
        record = self._record(result)
        if result.phase in RETRIED:
            record.reopen()
            record.cancel_requested = False
        super().retry_result(result, engine=engine)

    def clear(self) -> None:
        """Forget every result, signal and step."""
        super().clear()
        self._records.clear()

    def _record(self, result: TaskResult) -> "_Record":
        return self._records.setdefault(result.id, _Record(engine=self, result=result))

    def run_child(self, child: Child, parent: TaskResult) -> TaskResult:
        """Run a child in place, once."""
        known = self._record(parent).children.get(UUID(child.id))
        if known is not None:
            return known
        now = timezone.now()
        result = TaskResult(
            task=registry.resolve(child.task).called(queue_name=child.queue, priority=child.priority),
            id=child.id,
            status=STATUS_OF_PHASE[child.phase],
            enqueued_at=now,
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=child.arguments["args"],
            kwargs=child.arguments["kwargs"],
            backend=parent.backend,
            errors=[],
            worker_ids=[],
            phase=child.phase,
            engine=child.engine,
            reason=child.reason,
            owner=parent.owner,
        )
        self._records[child.id] = _Record(engine=self, result=result, parent=parent)
        self._record(parent).children[UUID(child.id)] = result
        self.accept(result)
        return result

    def _run_once(self, result: TaskResult, record: "_Record") -> None:
        task = result.task
        task_started.send(type(task.get_backend()), task_result=result)
        attempt = Attempt(
            claim=_claim(result),
            lease_seconds=self.configuration.lease_seconds,
            max_result_bytes=self.configuration.max_result_bytes,
        )
        attempt.load(record.steps)
        record.attempt = attempt
        text, failure = "null", None
        try:
            value = self._call(result, record, attempt)
            text = as_json(value, what=f"The result of {task.module_path}", limit=self.configuration.max_result_bytes)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # as Django's ImmediateBackend: whatever a body raises is its end
            failure = error
        if attempt.over is not None:
            # It suspended, whatever its body made of that.
            put(result, phase="waiting")
        elif attempt.cancel_raised and (failure is None or isinstance(failure, Cancelled)):
            self._end(result, "cancelled", failure)
        elif failure is None:
            put(result, _return_value=json.loads(text))
            self._end(result, "succeeded", None)
        else:
            self._fail(result, failure)

    def _fail(self, result: TaskResult, failure: BaseException) -> None:
        error = failure
        if isinstance(failure, Permanent) and isinstance(failure.__cause__, TypeError):
            error = failure.__cause__  # a result that is not JSON: Django reports the TypeError
        result.errors.append(TaskError(**Error.of(error).as_json()))
        failed = len(result.worker_ids) - 1
        verdict = after_failure(failure, task=result.task, attempts=failed, age=0.0, random=lambda: 0.0)
        if isinstance(failure, OrderChanged):
            put(result, phase="parked")
        elif verdict.outcome is None:
            put(result, phase="retrying")
        else:
            self._end(result, verdict.outcome, failure)

    def _end(self, result: TaskResult, outcome: str, failure: BaseException | None) -> None:
        put(result, phase=outcome, finished_at=timezone.now())
        sender = type(result.task.get_backend())
        if failure is None:
            task_finished.send(sender, task_result=result)
            return
        try:
            raise failure  # noqa: TRY301  # it was raised before, and is only to be handled again
        except BaseException:  # noqa: BLE001  # Django's receiver of task_finished logs what is being handled
            task_finished.send(sender, task_result=result)

    def _call(self, result: TaskResult, record: "_Record", attempt: Attempt) -> Any:
        task = result.task
        # Its own copy, as each attempt on a running engine reads it: what the body changes stays in the body.
        arguments, named = json.loads(json.dumps([result.args, result.kwargs]))
        asynchronous = iscoroutinefunction(task.func)
        # A test's own transaction is no hindrance.
        around = None if asynchronous else open_transactions()
        calls = Calls(attempt=attempt, durable=Durable(), transactions=around)
        if task.takes_context:
            kind = AsyncContext if asynchronous else Context
            arguments.insert(0, kind(task_result=result, _calls=calls, _ledger=record))

        async def body() -> Any:
            attempt.begin(time_limit=None)
            return await task.func(*arguments, **named)

        if asynchronous:
            value = async_to_sync(body)()
        else:
            attempt.begin(time_limit=None)
            value = task.func(*arguments, **named)
        drive(attempt, calls.flush(), record)
        return value


@dataclass(kw_only=True)
class _Record(Remembered):
    """What the ledger would keep of one result."""

    engine: ImmediateEngine
    result: TaskResult
    parent: TaskResult | None = None
    attempt: Attempt | None = None
    children: dict[UUID, TaskResult] = field(default_factory=dict)

    def keep_progress(self, current: float, total: float | None, message: str) -> None:
        value = ProgressValue(current=current, total=total, message=message, updated_at=timezone.now())
        object.__setattr__(self.result, "progress", value)

    def run_children(self, children: list[Child]) -> None:
        for child in children:
            self.engine.run_child(child, self.result)

    def end_of_child(self, id_: UUID) -> ChildEnd | None:
        child = self.children[id_]
        if child.phase not in ENDED:
            return None
        error = child.errors[-1].traceback if child.errors else None
        value = child.return_value if child.phase == "succeeded" else None
        return ChildEnd(outcome=child.phase, result=value, traceback=error)


def _claim(result: TaskResult) -> Claim:
    now = timezone.now()
    return Claim(
        id=UUID(result.id),
        task=result.task.module_path,
        queue=result.task.queue_name,
        priority=result.task.priority,
        arguments={"args": result.args, "kwargs": result.kwargs},
        engine=result.engine,
        reason=result.reason,
        owner=result.owner,
        parent=None,
        trace=None,
        idempotency_key=result.task.idempotency_key,
        fence=1,
        worker=_WORKER,
        attempts=len(result.worker_ids) - 1,
        lost_leases=0,
        dispatch_number=1,
        worker_ids=result.worker_ids,
        errors=[],
        created_at=result.enqueued_at or now,
        started_at=now,
        last_attempted_at=now,
        cancel_requested=False,
    )
