"""A runtime that cannot be told that somebody may go on is told again soon, not at the next look a minute later."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from tandem.engines.base import Engine, Reference
from tandem.exceptions import BrokerUnavailable
from tandem.ledger import connection as ledger
from tandem.ledger.hot import claims, inserts
from tandem.ledger.identity import new_id
from tandem.ledger.models import Execution
from tandem.ledger.rows import NewExecution
from tandem.ledger.suspension import waits, wakes
from tandem.ledger.suspension.waits import RECHECK_SECONDS
from tandem.relay import Relay
from tests.celery_work.stage import Stage


class Unreachable(Engine):
    """An engine that is there for nothing but to be told, and is down."""

    name = "restate"
    holds_waiting = True

    def __init__(self) -> None:
        self.told = 0

    def submit(self, batch: Sequence[Reference]) -> None:
        raise BrokerUnavailable("Restate does not answer.")

    def wake(self, ready: Sequence[Any]) -> None:
        self.told += len(ready)
        raise BrokerUnavailable("Restate does not answer.")


def test_who_could_not_be_woken_is_looked_at_again_soon(celery: Stage) -> None:
    new = NewExecution(
        id=new_id(),
        task="tests.work.tasks.approval",
        queue="default",
        priority=0,
        arguments='{"args": [], "kwargs": {}}',
        engine="restate",
        reason="default",
        pinned=False,
        phase="queued",
        broker_epoch="e",
    )
    ledger.execute(inserts.insert_one(new))
    claim = ledger.execute(claims.claim(id=new.id, engine="restate", worker="w", lease=30))
    assert claim is not None
    step: Any = {"name": "approved", "occurrence": 0}
    ledger.execute(waits.open_wait(claim.lease, **step, position=0, signal="approved", seconds=None))
    assert ledger.execute(waits.suspend_waiting(claim.lease, **step, wake_generation=0, awakeable="sign_1"))
    ledger.execute(wakes.send_signal(id=new.id, name="approved", payload=1, by=None))
    ledger.execute(wakes.wake(new.id))
    engine: Any = Unreachable()
    Relay(configuration=celery.backend.configuration, engines={"restate": engine}).round()
    row = Execution.objects.get(pk=new.id)
    assert (engine.told, row.phase) == (1, "waiting")
    assert row.due_at is not None
    assert row.due_at < timezone.now() + timedelta(seconds=RECHECK_SECONDS / 2)
