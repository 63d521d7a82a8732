"""The one place where a body runs, whatever the engine: claim, run, record, tidy.

An engine brings the claiming statement and its side of the durable calls, and acts on the `Outcome`. A plain task costs
two statements: claim and finish.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from django.tasks.signals import task_finished, task_started

from tandem import registry
from tandem.declarations import Task, TaskResult
from tandem.exceptions import AttemptOver, Cancelled, OrderChanged, Permanent, UnknownTask
from tandem.execution.asking import write_end
from tandem.execution.attempt import Attempt, as_json
from tandem.execution.calls import Calls
from tandem.execution.context import AsyncContext, Context
from tandem.execution.drivers import adrive, drive
from tandem.execution.durable import Durable
from tandem.execution.isolation import Threads, apart, run_apart, tidy_connections
from tandem.execution.leases import LOST, ActiveAttempts
from tandem.execution.outcome import REFUSED, Kind, Outcome, is_told
from tandem.execution.retry import after_failure
from tandem.ledger import connection as ledger
from tandem.ledger import endings
from tandem.ledger.hot import attempts
from tandem.ledger.results import result_of_claim
from tandem.ledger.rows import Claim, Error
from tandem.ledger.statement import Statement

__all__ = ["Outcome", "Runner"]

logger = logging.getLogger("tandem.runner")

_UNKNOWN_TASK_SECONDS: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs attempts in this process. What `interrupts` the process, raised in a body, is no end of the body.

    `execute` is for claims and ends: that of `Groups` where a process runs bodies in threads.
    """

    lease_seconds: float
    max_result_bytes: int
    max_lost_leases: int
    active: ActiveAttempts = field(default_factory=ActiveAttempts)
    random: Callable[[], float] = random.random
    interrupts: Callable[[BaseException], bool] = lambda _: False
    execute: ledger.Execute = ledger.execute

    def run(self, claiming: Statement[Claim | None], durable: Durable) -> Outcome:
        """Run one attempt of a sync body on this thread.

        Raises psycopg's errors where the ledger cannot be reached: the reference is still to be delivered, or its lease
        runs out. Raises what `interrupts` too: the execution is the caller's to requeue.
        """
        opened = self._open(claiming)
        if isinstance(opened, Outcome):
            return opened
        attempt, task, result = opened
        return run_apart(self._run_body, attempt, task, result, durable)

    def _run_body(self, attempt: Attempt, task: Task, result: TaskResult, durable: Durable) -> Outcome:
        """A sync attempt from its first signal to its last, in a state of its own."""
        calls = Calls(attempt=attempt, durable=durable, transactions={})
        value: Any = None
        failure: BaseException | None = None
        durable.take(attempt)
        self.active.add(attempt)
        try:
            try:
                attempt.guard()
                task_started.send_robust(type(task.get_backend()), task_result=result)
                attempt.begin(time_limit=task.time_limit)
                durable.take(attempt)
                value = _call(task, Context(task_result=result, _calls=calls), attempt.claim)
                drive(attempt, calls.flush())
            finally:
                # Until here a time limit's signal may raise; what it raises here is an end like others.
                self.active.remove(attempt)
                tidy_connections()
        except BaseException as error:  # sys.exit() in a body is a failure like any other
            if self.interrupts(error):
                raise
            failure = error
        outcome, failure = self._record(attempt, task, failure, value)
        if is_told(result, outcome):
            with _suppressed(failure):
                try:
                    _raise(failure)
                finally:
                    task_finished.send_robust(type(task.get_backend()), task_result=result)
        return outcome

    async def arun(self, claiming: Statement[Claim | None], durable: Durable) -> Outcome:
        """As `run`, for an async body, on the running loop."""
        opened = await ledger.in_thread(self._open, claiming)
        if isinstance(opened, Outcome):
            return opened
        attempt, task, result = opened
        async with apart() as threads:
            return await self._arun_body(attempt, task, result, durable, threads)

    async def _arun_body(
        self, attempt: Attempt, task: Task, result: TaskResult, durable: Durable, threads: Threads
    ) -> Outcome:
        """As `_run_body`, awaited."""
        calls = Calls(attempt=attempt, durable=durable, transactions=None)
        value: Any = None
        failure: BaseException | None = None
        attempt.rouse = self.active.cancel_of(attempt)
        durable.take(attempt)
        self.active.add(attempt)
        try:
            try:
                attempt.guard()
                await task_started.asend_robust(type(task.get_backend()), task_result=result)
                attempt.begin(time_limit=task.time_limit)
                durable.take(attempt)
                value = await _call(task, AsyncContext(task_result=result, _calls=calls), attempt.claim)
                await adrive(attempt, calls.flush())
            except BaseException as error:  # as in _run_body()
                if self.interrupts(error):
                    raise
                failure = error
            if not attempt.stopped:
                # What the body gave its thread is the body's: the lease is kept, and the time limit holds.
                await threads.tidy()
        except asyncio.CancelledError:
            if not attempt.stopped:
                raise
        finally:
            self.active.remove(attempt)
        outcome, failure = await ledger.in_thread(self._record, attempt, task, failure, value)
        if is_told(result, outcome):
            with _suppressed(failure):
                try:
                    _raise(failure)
                finally:
                    await task_finished.asend_robust(type(task.get_backend()), task_result=result)
        return outcome

    def expire(self, attempt: Attempt) -> Outcome:
        """End an attempt that is past its task's time limit, from another thread than its body's.

        Stops it (its next context call raises `AttemptOver`) and records it; only a prefork child can be killed.
        """
        attempt.stop("the time limit is over")
        if self.execute is not ledger.execute:
            # The heartbeat's thread waits for no body's statement.
            return replace(self, execute=ledger.execute).expire(attempt)
        return self._fail(attempt, registry.resolve(attempt.claim.task), attempt.limit_exceeded(), unseen=True)

    def expire_overdue(self) -> None:
        """Expire what runs past its limit; for a heartbeat's rounds, where the pool is threads."""
        for attempt in self.overdue():
            self.expire(attempt)

    def overdue(self) -> list[Attempt]:
        """The attempts that run past their limit and were not expired yet."""
        running = (attempt for attempt in self.active.attempts() if attempt.over is None)
        return [attempt for attempt in running if (attempt.deadline or float("inf")) <= time.monotonic()]

    def _open(self, claiming: Statement[Claim | None]) -> tuple[Attempt, Task, TaskResult] | Outcome:
        attempt = self._claim(claiming)
        if isinstance(attempt, Outcome):
            return attempt
        try:
            task = registry.resolve(attempt.claim.task)
        except UnknownTask as error:
            return self._send_elsewhere(attempt, error)
        try:
            return attempt, task, result_of_claim(task, attempt.claim)
        except Exception as error:  # noqa: BLE001  # a row of an older version may be nested past Python's recursion
            return self._finish(attempt, "failed", None, Error.of(error), unseen=True)

    def _claim(self, claiming: Statement[Claim | None]) -> Attempt | Outcome:
        claim = self.execute(claiming)
        if claim is None:
            return REFUSED
        attempt = Attempt(claim=claim, lease_seconds=self.lease_seconds, max_result_bytes=self.max_result_bytes)
        if claim.cancel_requested:
            return self._finish(attempt, "cancelled", None, None, unseen=True)
        if claim.lost_leases > self.max_lost_leases:
            poison = RuntimeError(
                f"{claim.lost_leases} leases were lost: the body kills or freezes its worker every time. Retry it by hand"
                " once the cause is gone."
            )
            return self._finish(attempt, "dead", None, Error.of(poison), unseen=True)
        if claim.fence > 1:
            attempt.load(ledger.execute(attempts.recorded_steps(claim.id)))
        return attempt

    def _record(
        self, attempt: Attempt, task: Task, failure: BaseException | None, value: Any = None
    ) -> tuple[Outcome, BaseException | None]:
        """Write what the body's end means, once, guarded by the fence; answers what it failed with, too."""
        claim = attempt.claim
        if attempt.overran and attempt.over is None:
            failure = attempt.limit_exceeded()
        if attempt.over is not None or isinstance(failure, AttemptOver):
            return Outcome(kind="over", claim=claim, error=attempt.over or str(failure)), failure
        text: str | None = None
        if failure is None and not attempt.cancel_raised:
            try:
                text = as_json(value, what=f"The result of {claim.task}", limit=self.max_result_bytes)
            except Permanent as error:
                # Django's backends report the TypeError itself; to run the body again would not change it.
                failure = error.__cause__ if isinstance(error.__cause__, TypeError) else error
                return self._finish(attempt, "failed", None, Error.of(failure)), failure
            except BaseException as error:  # a value's own methods may call sys.exit()
                if self.interrupts(error):
                    raise
                failure = error
        if attempt.cancel_raised and (failure is None or isinstance(failure, Cancelled)):
            return self._finish(attempt, "cancelled", None, None), failure
        if failure is None:
            return self._finish(attempt, "succeeded", text, None), None
        if isinstance(failure, OrderChanged):
            return self._park(attempt, failure), failure
        return self._fail(attempt, task, failure), failure

    def _finish(
        self, attempt: Attempt, kind: Kind, text: str | None, error: Error | None, *, unseen: bool = False
    ) -> Outcome:
        finish = partial(attempts.finish, attempt.lease)
        worse: Final = "failed" if kind == "succeeded" else kind
        finished, plain = write_end(
            finish(outcome=kind, result=text, error=error),
            lambda plain: finish(outcome=worse, result=None, error=plain),
            execute=self.execute,
        )
        if plain is not None:
            kind, text, error = worse, None, plain
        if finished is None:
            return _lost(attempt)
        endings.tell_parent(attempt.claim.parent)
        if unseen:
            endings.announce_elsewhere([attempt.claim.id])
        line = "" if error is None else error.line
        return Outcome(kind=kind, claim=attempt.claim, result=text, error=line, finished_at=finished, failure=error)

    def _fail(self, attempt: Attempt, task: Task, failure: BaseException, *, unseen: bool = False) -> Outcome:
        claim, error = attempt.claim, Error.of(failure)
        verdict = after_failure(failure, task=task, attempts=claim.attempts, age=attempt.age, random=self.random)
        if verdict.outcome is not None:
            return self._finish(attempt, verdict.outcome, None, error, unseen=unseen)
        later = partial(attempts.retry_later, attempt.lease, seconds=verdict.delay, counted=True)
        due, plain = write_end(later(error=error), lambda plain: later(error=plain), execute=self.execute)
        if due is None:
            return _lost(attempt)
        return Outcome(kind="retrying", claim=claim, error=(plain or error).line, delay=verdict.delay)

    def refuse(self, claiming: Statement[Claim | None], error: UnknownTask) -> Outcome:
        """Claim an execution whose task this process does not know, only to have it sent elsewhere, or later."""
        attempt = self._claim(claiming)
        return attempt if isinstance(attempt, Outcome) else self._send_elsewhere(attempt, error)

    def _send_elsewhere(self, attempt: Attempt, error: UnknownTask) -> Outcome:
        logger.error("%s", error)
        ledger.execute(attempts.send_elsewhere(attempt.lease, seconds=_UNKNOWN_TASK_SECONDS, why=str(error)))
        return Outcome(kind="refused", claim=attempt.claim, error=str(error))

    def _park(self, attempt: Attempt, failure: OrderChanged) -> Outcome:
        if not ledger.execute(attempts.park(attempt.lease, error=Error.of(failure))):
            return _lost(attempt)
        logger.error("%s", failure)
        return Outcome(kind="parked", claim=attempt.claim, error=str(failure))


def _lost(attempt: Attempt) -> Outcome:
    attempt.end(LOST)
    return Outcome(kind="over", claim=attempt.claim, error=str(attempt.over))


def _call(task: Task, context: Context | AsyncContext, claim: Claim) -> Any:
    arguments = claim.arguments
    if task.takes_context:
        return task.func(context, *arguments["args"], **arguments["kwargs"])
    return task.func(*arguments["args"], **arguments["kwargs"])


def _suppressed(failure: BaseException | None) -> AbstractContextManager[None]:
    # Django's receiver of task_finished logs sys.exc_info(), which is there only while the exception is being handled.
    return suppress(Exception if failure is None else type(failure))


def _raise(failure: BaseException | None) -> None:
    if failure is not None:
        raise failure
