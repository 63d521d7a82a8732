"""What a waiting body hears where its cancel reached its children, or its wait's end, first."""

from typing import Any

import pytest

from tandem.declarations import BoundCall
from tandem.exceptions import Cancelled
from tandem.execution.attempt import Attempt
from tandem.execution.waiting import gather, wait
from tandem.ledger.identity import new_id
from tandem.ledger.rows import LeaseCheck, RecordedStep
from tests.unit.test_active_attempts import attempt
from tests.work.tasks import noop

ASKED = LeaseCheck(held=True, written=True, cancel_requested=True)


def resumed(kind: str, result: Any) -> Attempt:
    """An attempt with one durable call that an earlier one recorded."""
    made = attempt(new_id(), 2)
    made.load((RecordedStep(name="call", occurrence=0, position=0, kind=kind, result=result, due_in=None),))
    return made


def test_a_cancelled_parent_hears_of_its_cancel_not_of_its_childrens() -> None:
    made = resumed("call", [["cancelled", None, None]])
    key = made.step_key("call")
    made.apply(ASKED)
    steps = gather(made, key, [BoundCall(task=noop)], return_exceptions=False)
    next(steps)
    with pytest.raises(Cancelled):
        steps.send(None)


def test_a_cancelled_waiter_hears_of_its_cancel_not_of_its_timeout() -> None:
    made = resumed("timeout", None)
    key = made.step_key("call")
    made.apply(ASKED)
    steps = wait(made, key, signal="call", seconds=1.0)
    next(steps)
    with pytest.raises(Cancelled):
        steps.send(None)
