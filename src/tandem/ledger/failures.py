"""What an error of a statement says: that the ledger is away, or of the values that were to be written."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from django.db.utils import DatabaseError, InterfaceError
from psycopg import errors

from tandem.exceptions import LedgerNotMigrated, LedgerUnavailable

__all__ = ["explained", "unavailability"]

# What a statement's values can do. Everything else that a server answers to the ledger's own constant statements is
# the server's: down, ending, full, read-only after a failover, without our rights or our tables.
_OF_THE_VALUES: Final = (psycopg.DataError, psycopg.IntegrityError)


def unavailability(error: BaseException) -> LedgerUnavailable | None:
    """What to raise for psycopg's error, or Django's of it; None where it is about what was to be written."""
    cause = error.__cause__ if isinstance(error, DatabaseError | InterfaceError) else error
    if isinstance(cause, LedgerUnavailable):
        return cause
    if isinstance(cause, errors.UndefinedTable | errors.UndefinedColumn):
        return LedgerNotMigrated(
            f"The ledger in DATABASES['default'] lacks what this version needs ({cause.diag.message_primary})."
            " Run `manage.py migrate`."
        )
    own = not isinstance(cause, psycopg.Error) or isinstance(cause, _OF_THE_VALUES) or _is_too_much(cause)
    # Without a code it is psycopg's own: a value that it cannot send.
    if own or (isinstance(cause, psycopg.ProgrammingError) and cause.sqlstate is None):
        return None
    return LedgerUnavailable(str(cause).strip() or type(cause).__name__)


def _is_too_much(error: psycopg.Error) -> bool:
    """Whether it is of the class of limits: nested too deep for the server's stack, or too large."""
    return (error.sqlstate or "").startswith("54")


@contextmanager
def explained() -> Iterator[None]:
    """Raise `LedgerUnavailable` for those of psycopg's errors that say it."""
    try:
        yield
    except psycopg.Error as error:
        unavailable = unavailability(error)
        if unavailable is None:
            raise
        raise unavailable from error
