"""The immediate engine: runs a body in place, as Django's ImmediateBackend does; for unit tests and scripts."""

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Final
from uuid import UUID

from asgiref.sync import async_to_sync, sync_to_async
from django.tasks.base import TaskError
from django.tasks.signals import task_finished, task_started
from django.utils import timezone

from tandem.declarations import BoundCall, ProgressValue, Task, TaskResult
from tandem.engines.base import CAPABILITIES
from tandem.engines.memory import MemoryEngine, put
from tandem.exceptions import ChildFailed, Permanent
from tandem.execution.attempt import Attempt, StepKey, as_json
from tandem.execution.context import AsyncContext, Context
from tandem.execution.retry import after_failure
from tandem.execution.waiting import Hold
from tandem.ledger.rows import Claim, Error

__all__ = ["ImmediateEngine"]

_WORKER: Final = "immediate"
_NO_SIGNALS: Final = "nothing can be sent to a body that runs in place. Test it on a running engine."


class _InPlace:
    """A context's calls without a ledger: a step runs, a sleep is over at once, progress goes to the result."""

    def __init__(self, result: TaskResult) -> None:
        self._result = result

    def begin(self, attempt: Attempt) -> None:
        """The call is the attempt."""

    def step(self, key: StepKey, action: Callable[[], Any]) -> Any:
        return action()

    def sleep(self, attempt: Attempt, key: StepKey, seconds: float) -> None:
        """Tests do not wait."""

    def hold(self, attempt: Attempt, hold: Hold) -> None:
        raise Permanent(f"{attempt.claim.task} waits for {hold.key.label}: {_NO_SIGNALS}")

    def progressed(self, attempt: Attempt, current: float, total: float | None, message: str) -> None:
        value = ProgressValue(current=current, total=total, message=message, updated_at=timezone.now())
        object.__setattr__(self._result, "progress", value)


class _AsyncInPlace:
    def __init__(self, result: TaskResult) -> None:
        self._in_place = _InPlace(result)

    def begin(self, attempt: Attempt) -> None:
        """As above."""

    async def step(self, key: StepKey, action: Callable[[], Awaitable[Any]]) -> Any:
        return await action()

    def progressed(self, attempt: Attempt, current: float, total: float | None, message: str) -> None:
        self._in_place.progressed(attempt, current, total, message)

    async def sleep(self, attempt: Attempt, key: StepKey, seconds: float) -> None:
        """Tests do not wait."""

    async def hold(self, attempt: Attempt, hold: Hold) -> None:
        self._in_place.hold(attempt, hold)


def _children(calls: Sequence[BoundCall], *, return_exceptions: bool) -> list[Any]:
    """Run children in place, one after the other."""
    ends = [_end(call.task.enqueue(*call.args, **call.kwargs)) for call in calls]
    failure = next((end for end in ends if isinstance(end, ChildFailed)), None)
    if failure is not None and not return_exceptions:
        raise failure
    return ends


def _end(result: TaskResult) -> Any:
    if result.phase == "succeeded":
        return result.return_value
    error = result.errors[-1].traceback if result.errors else None
    return ChildFailed(id=result.id, task=result.task.module_path, phase=result.phase, error=error)


class _MemoryContext(Context):
    __slots__ = ()

    def wait(self, signal: str, timeout: float | timedelta | None = None) -> Any:
        raise Permanent(f"{self._attempt.claim.task} waits for signal {signal!r}: {_NO_SIGNALS}")

    def call(self, task: Task, /, *args: Any, **kwargs: Any) -> Any:
        return self.gather(task.bind(*args, **kwargs))[0]

    def gather(self, *calls: BoundCall, return_exceptions: bool = False) -> list[Any]:
        self._attempt.step_key("gather")
        return _children(calls, return_exceptions=return_exceptions)

    def _refuse_in_transaction(self, call: str) -> None:
        """Nothing suspends, and no step commits by itself: a test's own transaction is no hindrance."""

    def _perform_atomic(self, key: StepKey, action: Callable[[], Any]) -> Any:
        return self._perform(key, action)

    def _perform(self, key: StepKey, action: Callable[[], Any]) -> Any:
        limit = self._attempt.max_result_bytes
        return json.loads(as_json(action(), what=f"The result of step {key.name!r}", limit=limit))

    def _flush(self) -> None:
        pending = self._attempt.progress_statement()
        if pending is not None:
            self._journal.progressed(self._attempt, *_progress_of(pending.parameters))


class _MemoryAsyncContext(AsyncContext):
    __slots__ = ()

    async def wait(self, signal: str, timeout: float | timedelta | None = None) -> Any:  # noqa: ASYNC109  # durable
        raise Permanent(f"{self._attempt.claim.task} waits for signal {signal!r}: {_NO_SIGNALS}")

    async def call(self, task: Task, /, *args: Any, **kwargs: Any) -> Any:
        return (await self.gather(task.bind(*args, **kwargs)))[0]

    async def gather(self, *calls: BoundCall, return_exceptions: bool = False) -> list[Any]:
        self._attempt.step_key("gather")
        return await sync_to_async(_children)(calls, return_exceptions=return_exceptions)

    async def _perform_atomic(self, key: StepKey, action: Callable[[], Any]) -> Any:
        return await self._perform(key, action)

    async def _perform(self, key: StepKey, action: Callable[[], Any]) -> Any:
        value = action()
        if isawaitable(value):
            value = await value
        limit = self._attempt.max_result_bytes
        return json.loads(as_json(value, what=f"The result of step {key.name!r}", limit=limit))

    async def _flush(self) -> None:
        pending = self._attempt.progress_statement()
        if pending is not None:
            self._journal.progressed(self._attempt, *_progress_of(pending.parameters))


def _progress_of(parameters: Any) -> tuple[float, float | None, str]:
    return parameters["current"], parameters["total"], parameters["message"]


class ImmediateEngine(MemoryEngine):
    """Runs each call in the caller's thread before `enqueue` returns, its retries at once and from the top."""

    name = "immediate"
    supports = CAPABILITIES - {"defer", "external", "hard_time_limit"}

    def run(self, result: TaskResult) -> None:
        """Run the body to its end, as often as its policy says, and write that into the result.

        A call that is held stays as it is. Only KeyboardInterrupt comes out.
        """
        while result.phase in {"queued", "retrying"}:
            self._attempt(result)

    def _attempt(self, result: TaskResult) -> None:
        task, now = result.task, timezone.now()
        sender = type(task.get_backend())
        put(result, phase="running", started_at=result.started_at or now, last_attempted_at=now)
        result.worker_ids.append(_WORKER)
        task_started.send(sender, task_result=result)
        try:
            value = self._call(result)
            text = as_json(value, what=f"The result of {task.module_path}", limit=self.configuration.max_result_bytes)
        except KeyboardInterrupt:
            raise
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
        task = result.task
        # Its own copy, as each attempt on a running engine reads it: what the body changes stays in the body.
        arguments, named = json.loads(json.dumps([result.args, result.kwargs]))
        is_async = iscoroutinefunction(task.func)
        attempt: Attempt | None = None
        if task.takes_context:
            attempt = Attempt(
                claim=_claim(result),
                lease_seconds=self.configuration.lease_seconds,
                max_result_bytes=self.configuration.max_result_bytes,
            )
            arguments.insert(
                0,
                _MemoryAsyncContext(task_result=result, _attempt=attempt, _journal=_AsyncInPlace(result))
                if is_async
                else _MemoryContext(task_result=result, _attempt=attempt, _journal=_InPlace(result)),
            )
        value = (async_to_sync(task.func) if is_async else task.func)(*arguments, **named)
        if attempt is not None and (pending := attempt.progress_statement()) is not None:
            _InPlace(result).progressed(attempt, *_progress_of(pending.parameters))
        return value


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
