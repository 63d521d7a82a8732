"""Atomic steps: a step's work in the `default` database and its record, in one transaction."""

import json
import time
from collections.abc import Callable
from typing import Any

from django.db import transaction

from tandem.attempt import Attempt, Place, as_json
from tandem.exceptions import AttemptOver
from tandem.ledger import attempt as statements
from tandem.ledger import connection as ledger
from tandem.ledger.rows import Checkpoint

__all__ = ["perform_atomic"]


class _Undone(Exception):  # no error: it rolls the transaction back
    """Another attempt's record is there, or the lease is not."""

    def __init__(self, answer: Checkpoint) -> None:
        super().__init__("rolled back")
        self.answer = answer


def perform_atomic(attempt: Attempt, place: Place, action: Callable[[], Any]) -> Any:
    """Run `action` and record its result, exactly once: of two attempts, the later to commit is rolled back.

    The record comes last and checks the fence. It locks no execution: that would stop a process's heartbeat.
    """
    recorded = attempt.recorded.get((place.name, place.occurrence))
    if recorded is not None:
        return recorded.result
    try:
        with transaction.atomic(using=ledger.LEDGER_DATABASE):
            started = time.monotonic()
            text = as_json(action(), what=f"The result of step {place.name!r}", limit=attempt.max_result_bytes)
            if attempt.over is not None:
                raise AttemptOver(attempt.over)
            answer = ledger.execute_in_transaction(attempt.checkpoint(place, text, time.monotonic() - started))
            if not answer.written:
                raise _Undone(answer)  # noqa: TRY301  # only an exception rolls back
    except _Undone as undone:
        attempt.learn(undone.answer)
        attempt.load(ledger.execute(statements.recorded_steps(attempt.claim.id)))
        return attempt.recorded[place.name, place.occurrence].result
    attempt.learn(answer)
    return json.loads(text)
