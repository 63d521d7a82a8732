"""What a waiting body hears where its cancel reached its children, or its wait's end, first."""

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
