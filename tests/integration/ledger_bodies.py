"""Bodies as data, run one statement at a time: what a test may interleave, stop for good, or go on with too late.

The durable calls are the library's own (`tandem.execution.durable`), with an engine's side that keeps nothing; an end is
what the runner writes.
"""

from collections.abc import Generator, Sequence
from typing import Any
from uuid import UUID

from tandem.exceptions import AttemptOver, Cancelled, ChildFailed, SignalTimeout
from tandem.execution.attempt import Attempt
from tandem.execution.calls import Calls
from tandem.execution.durable import Blocking, Durable, DurableCall, Perform
from tandem.ledger import connection as ledger
from tandem.ledger.hot import attempts, claims
from tandem.ledger.rows import Claim, Error, NewExecution
from tandem.ledger.statement import Statement
from tandem.ledger.suspension import families, sleeps, waits, wakes
from tests.work.tasks import noop

__all__ = ["ERROR", "LEASE", "QUEUE", "SIGNAL", "TASK", "Held", "every_write", "new_execution"]

LEASE = 30.0
SIGNAL = "signal"
TASK = noop.module_path
QUEUE = noop.queue_name
ERROR = Error(exception_class_path="builtins.ValueError", traceback="ValueError: x")

type Statements = Generator[Statement[Any], Any, None]


def new_execution(id_: UUID, *, engine: str, phase: str) -> NewExecution:
    """A row as `enqueue` writes it."""
    return NewExecution(
        id=id_,
        task=TASK,
        queue=QUEUE,
        priority=0,
        arguments='{"args": [], "kwargs": {}}',
        engine=engine,
        reason="default",
        pinned=False,
        phase=phase,
        broker_epoch="e",
    )


def every_write(claim: Claim, *, wake_generation: int) -> list[Statement[Any]]:
    """Each write that names a fence, as an attempt sends it that does not know whether its claim still holds."""
    lease = claim.lease
    place: dict[str, Any] = {"name": "late", "occurrence": 0}
    return [
        attempts.checkpoint(lease, **place, position=9, result="9", seconds=0),
        attempts.progress(lease, current=9, total=None, message=""),
        sleeps.suspend(lease, **place, position=9, seconds=1),
        sleeps.resume(lease, seconds=LEASE),
        claims.release(lease),
        attempts.retry_later(lease, seconds=1, counted=True, error=ERROR),
        attempts.park(lease, error=ERROR),
        attempts.finish(lease, outcome="succeeded", result="9", error=None),
        waits.receive(lease, **place, position=9, signal=SIGNAL),
        waits.open_wait(lease, **place, position=9, signal=SIGNAL, seconds=None),
        waits.suspend_waiting(lease, **place, wake_generation=wake_generation, awakeable="sign_9"),
        families.spawn(claim, **place, position=9, born=()),
        families.answer_call(lease, **place, result="[]"),
    ]


class Held:
    """A claim and the body that runs under it: a sequence of `step`, `sleep`, `wait` and `call`."""

    def __init__(self, claim: Claim, calls: Sequence[str]) -> None:
        self.claim = claim
        self.attempt = Attempt(claim=claim, lease_seconds=LEASE, max_result_bytes=1_000)
        self.attempt.cancel_requested = claim.cancel_requested
        self.attempt.load(ledger.execute(attempts.recorded_steps(claim.id)))
        self._statements = self._run(calls)
        self.next: Statement[Any] | None = next(self._statements)

    def answer(self, answer: Any) -> None:
        """Take what the statement in `next` answered; `next` is then the following one, None at the end."""
        try:
            self.next = self._statements.send(answer)
        except StopIteration:
            self.next = None

    def stop(self) -> None:
        """Have the body end at its next call: its engine learned that the attempt is over."""
        self.attempt.end("stopped")

    def _run(self, calls: Sequence[str]) -> Statements:
        outcome, error = "succeeded", None
        try:
            for call in calls:
                yield from self._call(call)
            self.attempt.guard()
        except AttemptOver:
            return
        except Cancelled:
            outcome = "cancelled"
        except (ChildFailed, SignalTimeout):
            outcome, error = "failed", ERROR
        result = '"done"' if outcome == "succeeded" else None
        finished = yield attempts.finish(self.claim.lease, outcome=outcome, result=result, error=error)
        if finished is not None and self.claim.parent is not None:
            yield wakes.wake_parent(self.claim.parent)

    def _call(self, call: str) -> Statements:
        """A durable call, of which a test sees the statements: what it needs beside them is done between two of them."""
        calls = Calls(attempt=self.attempt, durable=Durable(), transactions=None)
        made: DurableCall[Any]
        if call == "wait":
            made = calls.wait(SIGNAL, 60)
        elif call == "call":
            made = calls.call(noop.bind())
        elif call == "sleep":
            made = calls.sleep(60)
        else:
            # A fence in the result: had two attempts written it, it would show.
            made = calls.step(call, lambda: self.claim.fence, atomic=False)
        answer: Any = None
        while True:
            try:
                need = made.send(answer)
            except StopIteration:
                return
            if isinstance(need, Statement):
                answer = yield need
            else:
                assert isinstance(need, Perform | Blocking)
                answer = need.function()
