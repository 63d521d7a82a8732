"""What a waiting body hears where its cancel reached its children, or its wait's end, first."""

import gc
import weakref
from typing import Any

import pytest

from tandem.declarations import BoundCall
from tandem.exceptions import Cancelled
from tandem.execution.attempt import Attempt
from tandem.execution.calls import Calls
from tandem.execution.drivers import drive
from tandem.execution.durable import Durable, DurableCall, Suspension
from tandem.ledger.identity import new_id
from tandem.ledger.rows import LeaseCheck, RecordedStep
from tests.unit.test_active_attempts import attempt
from tests.work.tasks import noop

ASKED = LeaseCheck(held=True, written=True, cancel_requested=True)


class CancelComes(Durable):
    """An engine that hears of a cancel while a wait, which is over, is put into its record."""

    def suspend(self, attempt: Attempt, suspension: Suspension) -> DurableCall[None]:
        attempt.apply(ASKED)
        yield from super().suspend(attempt, suspension)


def resumed(name: str, kind: str, result: Any) -> tuple[Attempt, Calls]:
    """An attempt with one durable call that an earlier one recorded."""
    made = attempt(new_id(), 2)
    made.load((RecordedStep(name=name, occurrence=0, position=0, kind=kind, result=result, due_in=None),))
    return made, Calls(attempt=made, durable=CancelComes(), transactions=None)


def test_a_cancelled_parent_hears_of_its_cancel_not_of_its_childrens() -> None:
    made, calls = resumed("gather", "call", [["cancelled", None, None]])
    with pytest.raises(Cancelled):
        drive(made, calls.gather([BoundCall(task=noop)], return_exceptions=False))


def test_a_cancelled_waiter_hears_of_its_cancel_not_of_its_timeout() -> None:
    made, calls = resumed("call", "timeout", None)
    with pytest.raises(Cancelled):
        drive(made, calls.wait("call", 1.0))


def test_an_error_of_a_step_keeps_no_frame_alive() -> None:
    """What a body has open is closed when its error is gone, not when somebody collects garbage."""

    class Open:
        """Something in a frame."""

    made = attempt(new_id(), 2)
    calls = Calls(attempt=made, durable=Durable(), transactions={})
    kept: list[weakref.ref[Open]] = []

    def fail() -> None:
        held = Open()
        kept.append(weakref.ref(held))
        raise ValueError("the step's")

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError, match="the step's"):
            drive(made, calls.step("fails", fail, atomic=False))
        assert [reference() for reference in kept] == [None]
    finally:
        gc.enable()
