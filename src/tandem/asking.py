"""What a body asks of the ledger. A ledger that does not answer ends the attempt: the body has not failed.

Recorded as the body's failure it would cost a retry, or the execution where it has none. The lease runs out instead,
and the next attempt goes on from the last recorded step. Nor can an `except Exception` in the body go on past a step
that may or may not be recorded.
"""

from tandem.attempt import Attempt
from tandem.exceptions import LedgerUnavailable
from tandem.ledger import connection as ledger
from tandem.ledger.statements import Statement

__all__ = ["aask", "ask"]


def ask[T](attempt: Attempt, statement: Statement[T]) -> T:
    """Execute for a sync body; raises `AttemptOver` where the ledger does not answer."""
    try:
        return ledger.execute(statement)
    except LedgerUnavailable as error:
        raise attempt.end(f"the ledger did not answer ({error})") from error


async def aask[T](attempt: Attempt, statement: Statement[T]) -> T:
    """As `ask`, awaited."""
    try:
        return await ledger.aexecute(statement)
    except LedgerUnavailable as error:
        raise attempt.end(f"the ledger did not answer ({error})") from error
