"""The caller's transactions: what an enqueue wrote is sent once its own committed, and of others it warns."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence

from django.db import connections, transaction

from tandem.engines.base import Engine, Reference
from tandem.exceptions import BrokerUnavailable, TimeLimitExceeded
from tandem.ledger import connection as ledger
from tandem.ledger import statements

__all__ = ["after_commit", "send_after_commit", "warn_of_other_transactions"]

logger = logging.getLogger("tandem.backend")


def after_commit(call: Callable[[], None], *, what: str) -> None:
    """Make a call once the ledger's transaction commits, or at once where there is none.

    Nothing that it raises reaches the caller, whose rows are written: it is logged, with `what` is late for it.
    """

    def call_safely() -> None:
        try:
            call()
        except TimeLimitExceeded:
            # The body's own, whatever it was doing.
            raise
        except Exception:
            logger.exception("What was enqueued or said is kept, but %s, which the relay will do.", what)

    if connections[ledger.LEDGER_DATABASE].in_atomic_block:
        transaction.on_commit(call_safely, using=ledger.LEDGER_DATABASE)
    else:
        call_safely()


def send_after_commit(engines: Mapping[str, Engine], name: str, references: Sequence[Reference]) -> None:
    """Push to the engine `name` once the ledger's transaction commits, or at once where there is none."""
    after_commit(lambda: _send(engines, name, references), what=f"{len(references)} execution(s) were not sent")


def _send(engines: Mapping[str, Engine], name: str, references: Sequence[Reference]) -> None:
    """Push what committed. A failure is written on the rows, for the relay, and is no error of the caller's."""
    ids = [reference.id for reference in references]
    try:
        epoch = engines[name].submit(references)
    except BrokerUnavailable:
        # Logged once by who keeps the connection, not at each enqueue.
        ledger.execute_in_transaction(statements.unsent(ids))
        return
    except BaseException:
        ledger.execute_in_transaction(statements.unsent(ids))
        raise
    if epoch is not None and any(reference.broker_epoch != epoch for reference in references):
        ledger.execute_in_transaction(statements.sent(ids, epoch))


def warn_of_other_transactions() -> None:
    """Warn the caller's caller, who called a task's enqueue, of an open transaction of another database."""
    for alias in connections:
        if alias != ledger.LEDGER_DATABASE and connections[alias].in_atomic_block:
            warnings.warn(
                f"enqueue() inside a transaction of database {alias!r}: Tandem's row is written to"
                f" {ledger.LEDGER_DATABASE!r}, so it commits whether that transaction does or not.",
                RuntimeWarning,
                # Past this function, the backend's and the task's: the line that calls a task's enqueue.
                stacklevel=4,
            )
