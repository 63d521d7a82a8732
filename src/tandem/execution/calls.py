"""The durable calls of a body, each once, for sync and async bodies and for every engine: `Calls`.

What they mean lives here: where a call stands, what an earlier attempt recorded, what is written, and that a body whose
attempt is over stops at its next call.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connections

from tandem.declarations import BoundCall
from tandem.exceptions import ChildFailed, Permanent, SignalTimeout
from tandem.execution.attempt import Attempt, StepKey, as_json, duration_of
from tandem.execution.durable import Atomic, Blocking, Durable, DurableCall, Perform, Suspension
from tandem.ledger.hot import attempts
from tandem.ledger.identity import derived_id
from tandem.ledger.rows import LeaseCheck
from tandem.ledger.statement import Statement
from tandem.ledger.suspension import families, waits
from tandem.ledger.suspension.families import Child, ChildEnd

__all__ = ["Calls", "open_transactions"]

_SLEEP: Final = "sleep"
_GATHER: Final = "gather"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The durable calls of one attempt.

    A body that suspends would roll back its open transaction. `transactions` are those that were open around a sync body,
    by database; an async body (None) has none on its loop.
    """

    attempt: Attempt
    durable: Durable
    transactions: Mapping[str, int] | None

    def step(self, name: str, function: Callable[[], Any], *, atomic: bool) -> DurableCall[Any]:
        """Begin, perform, complete; what an attempt before recorded is answered instead."""
        if atomic:
            self._refuse_in_transaction("step")
        key = self.attempt.step_key(name)
        answered = yield from self.durable.begin(self.attempt, key)
        if answered is not None:
            return answered.value
        recorded = self.attempt.recorded.get((key.name, key.occurrence))
        try:
            if recorded is not None:
                value = recorded.result
            elif atomic:
                value = yield Atomic(key, function)
            else:
                value = yield from self._perform(key, function)
        except BaseException:
            # Whatever it was: an AttemptOver, too, leaves the step to be performed by somebody else.
            self.durable.fail(key)
            raise
        yield from self.durable.complete(self.attempt, key, value)
        return value

    def _perform(self, key: StepKey, function: Callable[[], Any]) -> DurableCall[Any]:
        attempt = self.attempt
        started = time.monotonic()
        value = yield Perform(function)
        seconds = time.monotonic() - started
        text = as_json(value, what=f"The result of step {key.name!r}", limit=attempt.max_result_bytes)
        attempt.refuse_over()
        answer = yield attempt.checkpoint(key, text, seconds)
        attempt.apply(answer)
        if answer.written:
            return json.loads(text)
        return (yield from self._recorded_by_another(key))

    def _recorded_by_another(self, key: StepKey) -> DurableCall[Any]:
        attempt = self.attempt
        attempt.load((yield attempts.recorded_steps(attempt.claim.id)))
        return attempt.recorded[key.name, key.occurrence].result

    def progress(self, current: float, total: float | None, message: str) -> DurableCall[None]:
        """Keep the latest, and write it where that is due."""
        self.attempt.guard()
        if self.attempt.progress_due(current, total, message):
            yield from self.flush()

    def flush(self) -> DurableCall[None]:
        """Write progress that was not written yet."""
        pending = self.attempt.progress_statement()
        if pending is not None:
            self.attempt.apply((yield pending))
            values = pending.parameters
            self.durable.publish(self.attempt, values["current"], values["total"], values["message"])

    def sleep(self, duration: float | timedelta) -> DurableCall[None]:
        """Suspend for a time, from its first start; a body that cleans up after its cancel does not wait any more."""
        self._refuse_in_transaction("sleep")
        attempt = self.attempt
        key = attempt.step_key(_SLEEP)
        yield from self.flush()
        left = attempt.remaining(key, duration)
        seconds = 0.0 if attempt.cancel_raised else left

        def give_up(_: str | None) -> Statement[bool]:
            return attempt.suspend(key, seconds)

        statement = give_up if seconds > 0 else None
        suspension = Suspension(key=key, seconds=seconds, statement=statement, wakeable=False)
        yield from self.durable.suspend(attempt, suspension)
        if statement is not None:
            attempt.apply((yield attempt.resume()))
        attempt.guard()

    def wait(self, signal: str, timeout: float | timedelta | None) -> DurableCall[Any]:
        """Consume the oldest signal of a name, or suspend until one comes; raises `SignalTimeout`."""
        self._refuse_in_transaction("wait")
        attempt = self.attempt
        seconds = None if timeout is None else duration_of(timeout, what="wait()'s timeout")
        key = attempt.step_key(signal)
        yield from self.flush()
        step = _step(key) | {"position": key.position, "signal": signal}
        recorded = attempt.recorded.get((key.name, key.occurrence))
        kind, payload = (None, None) if recorded is None else (recorded.kind, recorded.result)
        while kind is None or kind == "waiting":
            found = yield waits.receive(attempt.lease, **step)
            attempt.apply(LeaseCheck(held=found.held, written=False, cancel_requested=found.cancel_requested))
            kind, payload = found.kind, found.payload
            if kind is None:
                attempt.apply((yield waits.open_wait(attempt.lease, **step, seconds=seconds)))
            if kind is None or kind == "waiting":
                left = seconds if kind is None else found.due_in
                yield from self._wait(key, None if left is None else max(0.0, left), found.wake_generation)
        if kind != "signal":
            over = Suspension(key=key, seconds=None if seconds is None else 0.0, statement=None)
            yield from self.durable.suspend(attempt, over)
        if kind == "timeout":
            attempt.guard()
            raise SignalTimeout(
                f"No signal {signal!r} came to {attempt.claim.task} {attempt.claim.id} in {seconds:.1f} s."
            )
        return payload

    def _wait(
        self, key: StepKey, seconds: float | None, wake_generation: int, children: tuple[UUID, ...] = ()
    ) -> DurableCall[None]:
        """Suspend unless `wake_generation` has changed; a body that cleans up after its cancel cannot wait any more."""
        attempt = self.attempt
        attempt.refuse_after_cancel()
        place = {"wake_generation": wake_generation, "children": children, **_step(key)}

        def give_up(awakeable: str | None) -> Statement[bool]:
            return waits.suspend_waiting(attempt.lease, awakeable=awakeable, **place)

        yield from self.durable.suspend(attempt, Suspension(key=key, seconds=seconds, statement=give_up))
        attempt.guard()

    def call(self, call: BoundCall) -> DurableCall[Any]:
        """Run one child to its end, and answer its result; raises `ChildFailed`."""
        self._refuse_in_transaction("call")
        (end,) = yield from self._children(call.task.name, [call], return_exceptions=False)
        return end

    def gather(self, calls: Sequence[BoundCall], *, return_exceptions: bool) -> DurableCall[list[Any]]:
        """Run children to their ends, and answer their results in the order of the calls; raises `ChildFailed`."""
        self._refuse_in_transaction("gather")
        return (yield from self._children(_GATHER, calls, return_exceptions=return_exceptions))

    def _children(self, name: str, calls: Sequence[BoundCall], *, return_exceptions: bool) -> DurableCall[list[Any]]:
        attempt = self.attempt
        key = attempt.step_key(name)
        yield from self.flush()
        ids = [_child_id(attempt, key, number) for number in range(len(calls))]
        answer = (yield from self._run_children(key, calls, ids)) if calls else []
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

    def _run_children(self, key: StepKey, calls: Sequence[BoundCall], ids: list[UUID]) -> DurableCall[list[Any]]:
        attempt = self.attempt
        recorded = attempt.recorded.get((key.name, key.occurrence))
        if recorded is None:
            born = yield Blocking(lambda: [_child(attempt, call, id_) for call, id_ in zip(calls, ids, strict=True)])
            attempt.apply((yield families.spawn(attempt.claim, **_step(key), position=key.position, born=born)))
            attempt.refuse_after_cancel()
        answer = recorded.result if recorded is not None and recorded.kind == "call" else None
        while answer is None:
            found = yield families.children(attempt.lease, ids=ids)
            attempt.apply(LeaseCheck(held=found.held, written=False, cancel_requested=found.cancel_requested))
            awaited = tuple(id_ for id_ in ids if id_ not in found.ended)
            if awaited:
                yield from self._wait(key, None, found.wake_generation, awaited)
            else:
                answer = yield from self._answer(key, [found.ended[id_] for id_ in ids])
        yield from self.durable.suspend(attempt, Suspension(key=key, seconds=None, statement=None))
        return list(answer)

    def _answer(self, key: StepKey, ended: list[ChildEnd]) -> DurableCall[list[Any]]:
        """Record what the children answered; where an earlier attempt did, that is what counts."""
        attempt = self.attempt
        ends = [[end.outcome, end.result, end.traceback] for end in ended]
        text = as_json(ends, what=f"What the children of step {key.name!r} answered", limit=attempt.max_result_bytes)
        answer = yield families.answer_call(attempt.lease, **_step(key), result=text)
        attempt.apply(answer)
        return list(json.loads(text) if answer.written else (yield from self._recorded_by_another(key)))

    def _refuse_in_transaction(self, call: str) -> None:
        if self.transactions is None:
            return
        for alias, depth in open_transactions().items():
            if depth > self.transactions.get(alias, 0):
                raise Permanent(
                    f"context.{call}() inside transaction.atomic() (database {alias!r}): suspending would roll the"
                    " transaction back. Leave the block first."
                )


def open_transactions() -> Mapping[str, int]:
    """How many `atomic` blocks are open on this thread, by database; those with none are left out."""
    depths = {
        alias: connections[alias].in_atomic_block + len(connections[alias].savepoint_ids) for alias in connections
    }
    return {alias: depth for alias, depth in depths.items() if depth}


def _result(call: BoundCall, id_: UUID, end: ChildEnd) -> Any:
    if end.outcome == "succeeded":
        return end.result
    return ChildFailed(id=str(id_), task=call.task.module_path, phase=end.outcome, error=end.traceback)


def _step(key: StepKey) -> dict[str, Any]:
    return {"name": key.name, "occurrence": key.occurrence}


def _child_id(attempt: Attempt, key: StepKey, number: int) -> UUID:
    return derived_id("child", str(attempt.claim.id), key.name, str(key.occurrence), str(number))


def _child(attempt: Attempt, call: BoundCall, id_: UUID) -> Child:
    return call.task.get_backend().child(call, id_=id_, parent=attempt.claim)
