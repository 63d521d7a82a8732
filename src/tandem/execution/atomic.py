"""A step whose work and record are one transaction of the `default` database."""

import json
import time
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, connections, transaction
from psycopg.errors import ReadOnlySqlTransaction

from tandem.exceptions import LedgerNotMigrated
from tandem.execution.attempt import Attempt, StepKey, as_json
from tandem.ledger import connection as ledger
from tandem.ledger.hot import attempts
from tandem.ledger.rows import LeaseCheck

__all__ = ["perform_atomic"]


class _Undone(Exception):  # no error: it rolls the transaction back
    """Another attempt's record is there, or the lease is not."""

    def __init__(self, answer: LeaseCheck) -> None:
        super().__init__("rolled back")
        self.answer = answer


def perform_atomic(attempt: Attempt, key: StepKey, action: Callable[[], Any]) -> Any:
    """Run `action` and record its result, exactly once: of two attempts, the later to commit is rolled back.

    The record comes last and checks the fence. It locks no execution: that would stop a process's heartbeat.
    """
    acted = False
    raw: Any = None
    try:
        with transaction.atomic(using=ledger.LEDGER_DATABASE):
            raw = connections[ledger.LEDGER_DATABASE].connection
            started = time.monotonic()
            value = action()
            acted = True
            text = as_json(value, what=f"The result of step {key.name!r}", limit=attempt.max_result_bytes)
            attempt.refuse_over()
            answer = ledger.execute_in_transaction(attempt.checkpoint(key, text, time.monotonic() - started))
            if not answer.written:
                raise _Undone(answer)  # noqa: TRY301  # only an exception rolls back
    except _Undone as undone:
        attempt.apply(undone.answer)
        attempt.load(ledger.execute(attempts.recorded_steps(attempt.claim.id)))
        return attempt.recorded[key.name, key.occurrence].result
    except (DatabaseError, LedgerNotMigrated) as error:
        # The action's own, such as a deadlock, is the body's. That the database is away, went, or can only be read
        # since a failover, is not; nor is anything but its result's that happens after it.
        own = (
            not acted and raw is not None and not raw.closed and not isinstance(error.__cause__, ReadOnlySqlTransaction)
        )
        if own or ledger.unavailability(error) is None:
            raise
        # As for any other record that the ledger did not take; whether the transaction committed, it will say.
        raise attempt.end(f"the ledger did not answer ({error})") from error
    attempt.apply(answer)
    return json.loads(text)
