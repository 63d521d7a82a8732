"""What `wait`, `call` and `gather` do, apart from how their statements are executed: the same for both kinds of body.

Each is a generator. It yields statements, and functions that use Django's connection, and is sent their answers; and
it yields `Hold`, for the engine to suspend the attempt, or only to keep its journal's order. A generator goes on after
a `Hold` that did not suspend.
"""

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tandem.declarations import BoundCall
from tandem.exceptions import Cancelled, ChildFailed, SignalTimeout
from tandem.execution.attempt import Attempt, StepKey, as_json
from tandem.ledger import attempt as attempts
from tandem.ledger import waiting as statements
from tandem.ledger.identity import derived_id
from tandem.ledger.rows import LeaseCheck
from tandem.ledger.statement import Statement
from tandem.ledger.waiting import Child, ChildEnd

__all__ = ["Hold", "Steps", "gather", "wait"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Asks the engine to suspend at a key, for at most `seconds` (None: without end), unless `wake_generation` has changed.

    `children`: those it waits for. `over`: the wait has ended in the ledger; what the engine's own journal has of it stands here.
    """

    key: StepKey
    seconds: float | None
    wake_generation: int = 0
    children: tuple[UUID, ...] = ()
    over: bool = False

    def statement(self, attempt: Attempt, *, awakeable: str | None = None) -> Statement[bool]:
        """The statement that gives up the lease; False where something came, or a cancel was asked for."""
        return statements.suspend_waiting(
            attempt.lease,
            name=self.key.name,
            occurrence=self.key.occurrence,
            wake_generation=self.wake_generation,
            awakeable=awakeable,
            children=self.children,
        )


type Steps[T] = Generator[Statement[Any] | Hold | Callable[[], Any], Any, T]


def wait(attempt: Attempt, key: StepKey, *, signal: str, seconds: float | None) -> Steps[Any]:
    """Consume the oldest signal of a name, or suspend until one comes; raises `SignalTimeout`."""
    step = _step(key) | {"position": key.position, "signal": signal}
    recorded = attempt.recorded.get((key.name, key.occurrence))
    kind, payload = (None, None) if recorded is None else (recorded.kind, recorded.result)
    while kind is None or kind == "waiting":
        found = yield statements.receive(attempt.lease, **step)
        attempt.apply(LeaseCheck(held=found.held, written=False, cancel_requested=found.cancel_requested))
        kind, payload = found.kind, found.payload
        if kind is None:
            attempt.apply((yield statements.open_wait(attempt.lease, **step, seconds=seconds)))
        if kind is None or kind == "waiting":
            _refuse_after_cancel(attempt)
            left = seconds if kind is None else found.due_in
            yield Hold(key=key, seconds=None if left is None else max(0.0, left), wake_generation=found.wake_generation)
            attempt.guard()
    if kind != "signal":
        yield Hold(key=key, seconds=None if seconds is None else 0.0, over=True)
    if kind == "timeout":
        attempt.guard()
        raise SignalTimeout(f"No signal {signal!r} came to {attempt.claim.task} {attempt.claim.id} in {seconds:.1f} s.")
    return payload


def gather(attempt: Attempt, key: StepKey, calls: Sequence[BoundCall], *, return_exceptions: bool) -> Steps[list[Any]]:
    """Run children to their ends, and answer their results in the order of the calls; raises `ChildFailed`."""
    step = _step(key)
    recorded = attempt.recorded.get((key.name, key.occurrence))
    ids = [_child_id(attempt, key, number) for number in range(len(calls))]
    if recorded is None and calls:
        born = yield lambda: [_child(attempt, call, id_) for call, id_ in zip(calls, ids, strict=True)]
        attempt.apply((yield statements.spawn(attempt.claim, **step, position=key.position, born=born)))
        _refuse_after_cancel(attempt)
    answer = [] if not calls else recorded.result if recorded is not None and recorded.kind == "call" else None
    while answer is None:
        found = yield statements.children(attempt.lease, ids=ids)
        attempt.apply(LeaseCheck(held=found.held, written=False, cancel_requested=found.cancel_requested))
        if len(found.ended) == len(set(ids)):
            answer = yield from _answer(attempt, key, [found.ended[id_] for id_ in ids])
        else:
            _refuse_after_cancel(attempt)
            awaited = tuple(id_ for id_ in ids if id_ not in found.ended)
            yield Hold(key=key, seconds=None, wake_generation=found.wake_generation, children=awaited)
            attempt.guard()
    if calls:
        yield Hold(key=key, seconds=None, over=True)
    ends = [
        _result(call, id_, ChildEnd(outcome=outcome, result=result, traceback=traceback))
        for call, id_, (outcome, result, traceback) in zip(calls, ids, answer, strict=True)
    ]
    failure = next((end for end in ends if isinstance(end, ChildFailed)), None)
    if failure is not None and not return_exceptions:
        # A cancel of this execution reached its children first.
        attempt.guard()
        raise failure
    return ends


def _answer(attempt: Attempt, key: StepKey, ended: list[ChildEnd]) -> Steps[list[Any]]:
    """Record what the children answered; where an earlier attempt did, that is what counts."""
    ends = [[end.outcome, end.result, end.traceback] for end in ended]
    text = as_json(ends, what=f"What the children of step {key.name!r} answered", limit=attempt.max_result_bytes)
    checkpoint = yield statements.answer_call(attempt.lease, **_step(key), result=text)
    attempt.apply(checkpoint)
    if not checkpoint.written:
        attempt.load((yield attempts.recorded_steps(attempt.claim.id)))
        return list(attempt.recorded[key.name, key.occurrence].result)
    answered: list[Any] = json.loads(text)
    return answered


def _result(call: BoundCall, id_: UUID, end: ChildEnd) -> Any:
    if end.outcome == "succeeded":
        return end.result
    return ChildFailed(id=str(id_), task=call.task.module_path, phase=end.outcome, error=end.traceback)


def _refuse_after_cancel(attempt: Attempt) -> None:
    """A body that cleans up after its cancel cannot wait: nothing suspends it any more."""
    attempt.guard()
    if attempt.cancel_raised:
        raise Cancelled(f"{attempt.claim.task} {attempt.claim.id} was cancelled; it cannot wait any more.")


def _step(key: StepKey) -> dict[str, Any]:
    return {"name": key.name, "occurrence": key.occurrence}


def _child_id(attempt: Attempt, key: StepKey, number: int) -> UUID:
    return derived_id("child", str(attempt.claim.id), key.name, str(key.occurrence), str(number))


def _child(attempt: Attempt, call: BoundCall, id_: UUID) -> Child:
    return call.task.get_backend().child(call, id_=id_, parent=attempt.claim)
