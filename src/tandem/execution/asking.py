"""What a body asks of the ledger, and how its attempt's end is written.

A ledger that does not answer ends the attempt: the body has not failed. Recorded as the body's failure it would cost a
retry, or the execution where it has none. The lease runs out instead, and the next attempt goes on from the last
recorded step. Nor can an `except Exception` in the body go on past a step that may or may not be recorded.

A statement that PostgreSQL refuses for its content is the body's failure, for good: no attempt could write it.
"""

import logging
from collections.abc import Callable
from typing import Final

import psycopg

from tandem.exceptions import LedgerUnavailable, Permanent
from tandem.execution.attempt import Attempt
from tandem.ledger import connection as ledger
from tandem.ledger.rows import Error
from tandem.ledger.statement import Statement
from tandem.values import said

__all__ = ["aask", "ask", "call_back", "write_end"]

logger = logging.getLogger("tandem.runner")

# What says that a statement can never be written, unless it says that the ledger is away: of the server, or of making
# its parameters (`UnicodeEncodeError`).
_REFUSALS: Final = (psycopg.Error, ValueError, OverflowError)


def ask[T](attempt: Attempt, statement: Statement[T]) -> T:
    """Execute for a sync body; raises `AttemptOver` where the ledger does not answer, `Permanent` where it refuses."""
    try:
        return ledger.execute(statement)
    except _REFUSALS as error:
        raise _meaning(attempt, error) from error


async def aask[T](attempt: Attempt, statement: Statement[T]) -> T:
    """As `ask`, awaited."""
    try:
        return await ledger.aexecute(statement)
    except _REFUSALS as error:
        raise _meaning(attempt, error) from error


def call_back[T](attempt: Attempt, function: Callable[[], T]) -> T:
    """Call what a durable call does on Django's connection; raises as `ask`, and what else it raises comes out.

    A child is routed there, by overrides that the ledger keeps.
    """
    try:
        return function()
    except Exception as error:
        unavailable = ledger.unavailability(error)
        if unavailable is None:
            raise
        raise attempt.end(f"the ledger did not answer ({unavailable})") from error


def _meaning(attempt: Attempt, error: Exception) -> BaseException:
    """What to raise in a body for an error of its statement."""
    if isinstance(error, LedgerUnavailable):
        return attempt.end(f"the ledger did not answer ({error})")
    return Permanent(f"PostgreSQL cannot keep what the body of {attempt.claim.task} asks for ({said(error)}).")


def write_end[T](
    end: Statement[T], plainer: Callable[[Error], Statement[T]], *, execute: ledger.Execute
) -> tuple[T, Error | None]:
    """Write how an attempt ended; where PostgreSQL refuses what is in it, once more with words that hold none of it.

    Answers those words too. Raises `LedgerUnavailable` where the ledger does not answer.
    """
    try:
        return execute(end), None
    except LedgerUnavailable:
        raise
    except _REFUSALS as error:
        logger.exception("PostgreSQL refused how an attempt ended; it is written in plainer words.")
        plain = Error.of(Permanent(f"PostgreSQL cannot keep how this attempt ended ({type(error).__name__})."))
        return execute(plainer(plain)), plain
