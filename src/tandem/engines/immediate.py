"""The immediate engine: runs a body in place, as Django's ImmediateBackend does; for unit tests and scripts."""

import json
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any, Final, Literal
from uuid import UUID

from asgiref.sync import async_to_sync
from django.tasks.base import TaskError
from django.tasks.signals import task_finished, task_started
from django.utils import timezone

from tandem import registry
from tandem.declarations import ProgressValue, TaskResult
from tandem.engines.base import CAPABILITIES
from tandem.engines.memory import MemoryEngine, put
from tandem.engines.remembered import Remembered
from tandem.exceptions import AttemptOver, OrderChanged, Permanent
from tandem.execution.attempt import Attempt, as_json
from tandem.execution.calls import Calls
from tandem.execution.context import AsyncContext, Context
from tandem.execution.drivers import drive
from tandem.execution.durable import Durable
from tandem.execution.retry import after_failure
from tandem.ledger.rows import Claim, Error
from tandem.ledger.waiting import Child, ChildEnd
from tandem.phases import ENDED

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

    def run(self, result: TaskResult) -> None:
        """Run the body to its end, as often as its policy says, and write that into the result.

        A call that is held stays as it is. Only KeyboardInterrupt comes out.
        """
        while result.phase in {"queued", "retrying"}:
            self._run_once(result, new=True)
        self._has_ended(result)

    def signal_result(self, result: TaskResult, name: str, payload: Any, *, by: str | None) -> None:
        """As every engine of memory; a body that waits for it goes on, in place, before this returns."""
        super().signal_result(result, name, payload, by=by)
        self._record(result).signals.append((name, payload))
        self._go_on(result)

    def time_out(self, result: TaskResult) -> None:
        """Let the timeout of what a result's body waits for be over, and run it on; for tests, which do not wait."""
        kept = self.result(result.id) or result
        self._record(kept).time_out()
        self._go_on(kept)

    def cancel_result(self, result: TaskResult, *, by: str | None) -> Literal["cancelled", "finished"]:
        """Cancel what waits, and its unfinished children; their parent goes on."""
        done = super().cancel_result(result, by=by)
        for child in self._record(result).children.values():
            self.cancel_result(child, by=by)
        self._has_ended(result)
        return done

    def clear(self) -> None:
        """Forget every result, signal and step."""
        super().clear()
        self._records.clear()

    def _record(self, result: TaskResult) -> "_Record":
        return self._records.setdefault(result.id, _Record(engine=self, result=result))

    def _go_on(self, result: TaskResult) -> None:
        if result.phase == "waiting":
            self._run_once(result, new=False)
            self.run(result)

    def _has_ended(self, result: TaskResult) -> None:
        """Have the parent of what ended go on."""
        parent = self._record(result).parent
        if result.phase in ENDED and parent is not None:
            self._go_on(parent)

    def run_child(self, child: Child, parent: TaskResult) -> TaskResult:
        """Run a child in place, once."""
        known = self._record(parent).children.get(UUID(child.id))
        if known is not None:
            return known
        now = timezone.now()
        result = TaskResult(
            task=registry.resolve(child.task).called(queue_name=child.queue, priority=child.priority),
            id=child.id,
            status=parent.status,
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
        put(result, phase=child.phase)
        self._records[child.id] = _Record(engine=self, result=result, parent=parent)
        self._record(parent).children[UUID(child.id)] = result
        self.accept(result)
        return result

    def _run_once(self, result: TaskResult, *, new: bool) -> None:
        task, now = result.task, timezone.now()
        sender = type(task.get_backend())
        put(result, phase="running", started_at=result.started_at or now, last_attempted_at=now)
        if new:
            result.worker_ids.append(_WORKER)
        task_started.send(sender, task_result=result)
        try:
            value = self._call(result)
            text = as_json(value, what=f"The result of {task.module_path}", limit=self.configuration.max_result_bytes)
        except KeyboardInterrupt:
            raise
        except AttemptOver:
            put(result, phase="waiting")
        except OrderChanged as error:
            result.errors.append(TaskError(**Error.of(error).as_json()))
            put(result, phase="parked")
        except BaseException as error:  # noqa: BLE001  # as Django's ImmediateBackend: whatever a body raises is its end
            failed = len(result.worker_ids) - 1
            verdict = after_failure(error, task=task, attempts=failed, age=0.0, random=lambda: 0.0)
            if isinstance(error, Permanent) and isinstance(error.__cause__, TypeError):
                error = error.__cause__  # a result that is not JSON: Django reports the TypeError
            result.errors.append(TaskError(**Error.of(error).as_json()))
            if verdict.outcome is None:
                put(result, phase="retrying")
                return
            put(result, phase=verdict.outcome, finished_at=timezone.now())
            task_finished.send(sender, task_result=result)
        else:
            put(result, phase="succeeded", finished_at=timezone.now(), _return_value=json.loads(text))
            task_finished.send(sender, task_result=result)

    def _call(self, result: TaskResult) -> Any:
        task, record = result.task, self._record(result)
        # Its own copy, as each attempt on a running engine reads it: what the body changes stays in the body.
        arguments, named = json.loads(json.dumps([result.args, result.kwargs]))
        is_async = iscoroutinefunction(task.func)
        function = async_to_sync(task.func) if is_async else task.func
        if not task.takes_context:
            return function(*arguments, **named)
        attempt = Attempt(
            claim=_claim(result),
            lease_seconds=self.configuration.lease_seconds,
            max_result_bytes=self.configuration.max_result_bytes,
        )
        attempt.load(record.steps)
        # Nothing suspends, and no step commits by itself: a test's own transaction is no hindrance.
        calls = Calls(attempt=attempt, durable=Durable(), refuses_transactions=False)
        kind = AsyncContext if is_async else Context
        value = function(kind(task_result=result, _calls=calls, _ledger=record), *arguments, **named)
        drive(attempt, calls.flush(), record)
        return value


@dataclass(kw_only=True)
class _Record(Remembered):
    """What the ledger would keep of one result."""

    engine: ImmediateEngine
    result: TaskResult
    parent: TaskResult | None = None
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
