"""Executing the ledger's statements.

Enqueue runs on Django's connection of the `default` database, so that a row commits with the caller's transaction.
The runner has connections of its own, one per thread and one pool per event loop, so that progress and checkpoints
are never part of the body's transaction.
"""

import asyncio
import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import psycopg
from django.db import connections
from django.db.utils import DatabaseError, InterfaceError, OperationalError
from psycopg import errors
from psycopg.pq import TransactionStatus

from tandem.exceptions import ConfigurationError, LedgerNotMigrated, LedgerUnavailable
from tandem.ledger.statements import Statement

__all__ = [
    "LEDGER_DATABASE",
    "aexecute",
    "close",
    "connection_parameters",
    "drop_ended",
    "execute",
    "execute_in_transaction",
    "is_postgresql",
    "own_connection",
    "tidy_connections",
    "unavailability",
]

LEDGER_DATABASE: Final = "default"

_ASYNC_CONNECTIONS: Final = 4

# The runner's statements all have an index. Without this, plans that are cached while a table is new and empty walk
# the whole of it once it is full, until it is analyzed again: seen at 4.5 ms for each of 10,000 tasks. The little
# tables that have none then look so dear that PostgreSQL compiles their statements: 240 ms for each batch of a prune.
_BY_INDEX: Final = "SELECT set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false)"


def is_postgresql() -> bool:
    """Whether the `default` database can hold a running ledger (SQLite holds only its migrations)."""
    return connections[LEDGER_DATABASE].vendor == "postgresql"


def _require_postgresql() -> None:
    vendor = connections[LEDGER_DATABASE].vendor
    if vendor != "postgresql":
        raise ConfigurationError(
            f"Tandem's ledger needs PostgreSQL, but DATABASES[{LEDGER_DATABASE!r}] is {vendor}. Name a PostgreSQL there,"
            " or the stub or immediate engine in ENGINES, which need none: for unit tests."
        )


def connection_parameters() -> dict[str, Any]:
    """Libpq's parameters of the `default` database, as Django's settings have them."""
    _require_postgresql()
    parameters = dict(connections[LEDGER_DATABASE].get_connection_params())
    for name in ("cursor_factory", "context", "pool", "prepare_threshold", "assume_role", "server_side_binding"):
        parameters.pop(name, None)
    return parameters


# What a statement's values can do. Everything else that a server answers to the ledger's own constant statements is
# the server's: down, ending, full, read-only after a failover, without our rights or our tables.
_OF_THE_VALUES: Final = (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded)


def unavailability(error: BaseException) -> LedgerUnavailable | None:
    """What to raise for psycopg's error, or Django's of it; None where it is about what was to be written."""
    cause = error.__cause__ if isinstance(error, DatabaseError | InterfaceError) else error
    if isinstance(cause, LedgerUnavailable):
        return cause
    if isinstance(cause, errors.UndefinedTable | errors.UndefinedColumn):
        return LedgerNotMigrated(
            f"The ledger in DATABASES[{LEDGER_DATABASE!r}] lacks what this version needs ({cause.diag.message_primary})."
            " Run `manage.py migrate`."
        )
    own = not isinstance(cause, psycopg.Error) or isinstance(cause, _OF_THE_VALUES)
    # Without a code it is psycopg's own: a value that it cannot send.
    if own or (isinstance(cause, psycopg.ProgrammingError) and cause.sqlstate is None):
        return None
    return LedgerUnavailable(str(cause).strip() or type(cause).__name__)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        unavailable = unavailability(error)
        if unavailable is None:
            raise
        raise unavailable from error


def execute_in_transaction[T](statement: Statement[T]) -> T:
    """Execute on Django's connection, inside the caller's transaction where there is one.

    psycopg's own cursor, prepared: measured at three quarters of the cost of Django's cursor. Database
    errors are Django's (`django.db.utils`), a missing table is `LedgerNotMigrated`. A connection whose server cannot
    take what a ledger writes is closed: the next may reach one that can.
    """
    _require_postgresql()
    connection = connections[LEDGER_DATABASE]
    connection.ensure_connection()
    raw: psycopg.Connection[Any] | None = connection.connection
    if raw is None:
        raise OperationalError(f"DATABASES[{LEDGER_DATABASE!r}] has no open connection.")
    connection.validate_no_broken_transaction()
    try:
        with connection.wrap_database_errors, psycopg.Cursor(raw) as cursor:
            # A pooler in transaction mode cannot keep prepared statements: prepare_threshold None says so.
            prepare = None if raw.prepare_threshold is None else True
            cursor.execute(statement.sql.encode(), statement.parameters, prepare=prepare)
            return statement.read(cursor.fetchall())
    except DatabaseError as error:
        if isinstance(error.__cause__, errors.ReadOnlySqlTransaction):
            # Not only given back: a pool would hand it out again.
            raw.close()
            connection.close()
        unavailable = unavailability(error)
        if isinstance(unavailable, LedgerNotMigrated):
            raise unavailable from error
        raise


class _Own(threading.local):
    connection: psycopg.Connection[Any] | None = None
    pid: int = 0


_own = _Own()


def _usable(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server still holds its end: an idle connection with something to read has been ended by it.

    One whose statement an exception cut short (a time limit's signal) still waits for that answer.
    """
    return connection.info.transaction_status is TransactionStatus.IDLE and not _has_ended(connection)


def _has_ended(connection: Any) -> bool:
    """Whether the server or this end has closed a connection that waits for no answer."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def drop_ended() -> None:
    """Close those of Django's connections of this thread that the server has ended: the next use opens others.

    They are kept from body to body, and a restarted server ends them while nobody looks.
    """
    for connection in connections.all(initialized_only=True):
        raw = connection.connection
        if raw is not None and connection.vendor == "postgresql" and _has_ended(raw):
            connection.close()


def own_connection() -> psycopg.Connection[Any]:
    """The thread's own connection, opened where there is none that works."""
    current = _own.connection
    if current is not None and _own.pid != os.getpid():
        # Inherited through a fork: the socket is the parent's. psycopg says no goodbye on it from another process.
        current = None
    if current is None or not _usable(current):
        close()
        current = psycopg.connect(**connection_parameters(), autocommit=True, prepare_threshold=0)
        current.execute(_BY_INDEX)
        _own.connection, _own.pid = current, os.getpid()
    return current


def execute[T](statement: Statement[T]) -> T:
    """Execute and commit on this thread's own ledger connection.

    Raises `LedgerUnavailable` where the ledger took nothing, else psycopg's errors, which are about the values. What a
    lost connection may have committed is settled by the fence and the lease, so nothing is retried here.
    """
    try:
        with _explained(), own_connection().cursor() as cursor:
            cursor.execute(statement.sql.encode(), statement.parameters)
            return statement.read(cursor.fetchall())
    except LedgerUnavailable:
        # A server that can only be read since a failover keeps its connections: the next may reach another.
        close()
        raise


def close() -> None:
    """Close this thread's own ledger connection; the next statement opens another."""
    current, _own.connection = _own.connection, None
    if current is not None and _own.pid == os.getpid():
        current.close()


def tidy_connections() -> None:
    """Leave Django's connections of this thread as the next body needs them: open where sound, else closed.

    Open connections are kept whatever CONN_MAX_AGE says (a new one costs more than a task); one that the body left
    in a transaction, or that an error or the server ended, is closed.
    """
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        unsound = connection.in_atomic_block or connection.errors_occurred or not connection.get_autocommit()
        if unsound or getattr(connection.connection, "closed", False):
            connection.in_atomic_block = False
            connection.savepoint_ids = []
            connection.needs_rollback = False
            connection.close()


class _LoopConnections:
    """A few connections shared by the async bodies of one event loop, opened on demand and kept."""

    def __init__(self) -> None:
        self._idle: list[psycopg.AsyncConnection[Any]] = []
        self._places = asyncio.Semaphore(_ASYNC_CONNECTIONS)

    async def execute[T](self, statement: Statement[T]) -> T:
        async with self._places:
            with _explained():
                connection = await self._take()
            try:
                with _explained():
                    async with connection.cursor() as cursor:
                        await cursor.execute(statement.sql.encode(), statement.parameters)
                        rows = await cursor.fetchall()
            except BaseException:
                # Its state is unknown (a cancelled task may have left half an answer on it).
                await connection.close()
                raise
            self._idle.append(connection)
            return statement.read(rows)

    async def _take(self) -> psycopg.AsyncConnection[Any]:
        while self._idle:
            connection = self._idle.pop()
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            if not connection.closed and not poll.poll(0):
                return connection
            await connection.close()
        parameters = connection_parameters()
        connection = await psycopg.AsyncConnection.connect(**parameters, autocommit=True, prepare_threshold=0)
        await connection.execute(_BY_INDEX)
        return connection

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop().close()


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopConnections] = WeakKeyDictionary()


async def aexecute[T](statement: Statement[T]) -> T:
    """As `execute`, awaited, on one of the running loop's connections."""
    loop = asyncio.get_running_loop()
    connections_of_loop = _loops.get(loop)
    if connections_of_loop is None:
        connections_of_loop = _loops[loop] = _LoopConnections()
    return await connections_of_loop.execute(statement)


async def aclose() -> None:
    """Close the running loop's connections."""
    connections_of_loop = _loops.pop(asyncio.get_running_loop(), None)
    if connections_of_loop is not None:
        await connections_of_loop.aclose()
