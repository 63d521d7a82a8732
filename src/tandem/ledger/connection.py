"""Executing the ledger's statements.

Enqueue runs on Django's connection of the `default` database, so that a row commits with the caller's transaction.
The runner has connections of its own, one per thread, so that progress and checkpoints are never part of the body's
transaction; async bodies share a few threads for it. Django opens them, from the settings of `default`; they stay
outside `OPTIONS["pool"]`, whose places are the bodies'.
"""

import asyncio
import os
import select
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import psycopg
from django.db import connections
from django.db.utils import DatabaseError, InterfaceError, OperationalError
from psycopg import errors
from psycopg.pq import TransactionStatus

from tandem.exceptions import ConfigurationError, LedgerNotMigrated, LedgerUnavailable
from tandem.ledger.failures import explained, unavailability
from tandem.ledger.statement import Statement

__all__ = [
    "LEDGER_DATABASE",
    "Execute",
    "Kept",
    "aexecute",
    "close",
    "close_threads",
    "connect",
    "execute",
    "execute_in_transaction",
    "has_ended",
    "in_thread",
    "is_direct",
    "is_postgresql",
    "is_usable",
    "own_connection",
    "unavailability",
]

LEDGER_DATABASE: Final = "default"

_THREADS: Final = 4

# The runner's statements all have an index. Without this, plans that are cached while a table is new and empty walk
# the whole of it once it is full, until it is analyzed again: seen at 4.5 ms for each of 10,000 tasks. The little
# tables that have none then look so dear that PostgreSQL compiles their statements: 240 ms for each batch of a prune.
# And what walks a backlog in the order of its index stops at its limit: a bitmap would be made of the whole, and sorted.
_BY_INDEX: Final = (
    "SELECT set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false),"
    " set_config('jit', 'off', false)"
)


class Execute(Protocol):
    """How a statement is executed."""

    def __call__[T](self, statement: Statement[T]) -> T:
        """Execute and commit; raises as `execute`."""
        ...


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


def connect(defaults: Mapping[str, Any] | None = None, **changes: Any) -> psycopg.Connection[Any]:
    """Open a connection that commits each statement, as Django opens one of `default`; `changes` go to its `OPTIONS`.

    `defaults` stand where `OPTIONS` says nothing. It is in no pool. Behind a pooler (PgBouncer) nothing stays in the session, which others use too: no setting, and
    no prepared statement but by a `prepare_threshold` in `OPTIONS`. Its plans are then made anew each time, and need
    no setting. Raises psycopg's errors.
    """
    _require_postgresql()
    default = connections[LEDGER_DATABASE]
    options = {**(defaults or {}), **default.settings_dict["OPTIONS"], **changes}
    options.pop("pool", None)
    wrapper = type(default)({**default.settings_dict, "OPTIONS": options, "AUTOCOMMIT": True}, LEDGER_DATABASE)
    try:
        wrapper.connect()
        connection: psycopg.Connection[Any] = wrapper.connection
        # What Django's cursors would make of parameters, JSON and times is for its models.
        connection.cursor_factory = psycopg.Cursor
        for name in ("jsonb", "timestamptz"):
            for format_ in (psycopg.pq.Format.TEXT, psycopg.pq.Format.BINARY):
                loader = psycopg.adapters.get_loader(psycopg.adapters.types[name].oid, format_)
                if loader is not None:
                    connection.adapters.register_loader(name, loader)
        if is_direct(connection):
            connection.prepare_threshold = None if options.get("prepare_threshold", 0) is None else 0
            connection.execute(_BY_INDEX, prepare=False)
    except BaseException as error:
        wrapper.close()
        if isinstance(error, DatabaseError | InterfaceError) and error.__cause__ is not None:
            raise error.__cause__ from error
        raise
    return connection


def is_direct(connection: psycopg.Connection[Any]) -> bool:
    """Whether a server answers, not a pooler before it, which has a process id of its own."""
    found = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    return found is not None and found[0] == connection.info.backend_pid


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
        if connection.queries_logged or connection.execute_wrappers:
            # Somebody looks at Django's queries: assertNumQueries, a debug toolbar, a tracer.
            with connection.cursor() as seen:
                seen.execute(statement.sql, statement.parameters)
                return statement.read(seen.fetchall())
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


def is_usable(connection: psycopg.Connection[Any]) -> bool:
    """Whether it waits for nothing, and the server holds its end: with something to read, it has been ended by it.

    One whose statement an exception cut short (a time limit's signal) still waits for that answer.
    """
    return connection.info.transaction_status is TransactionStatus.IDLE and not has_ended(connection)


def has_ended(connection: Any) -> bool:
    """Whether the server or this end has closed a connection that waits for no answer."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class Kept:
    """A connection that is opened when a statement needs it, kept for the next, and opened anew once it is lost.

    `defaults` are those of `connect`. One statement at a time. It is closed when its keeper ends.
    """

    _connection: psycopg.Connection[Any] | None = None
    _pid = 0

    def __init__(self, defaults: Mapping[str, Any] | None = None) -> None:
        self._defaults = defaults

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """It, opened where there is none that works."""
        kept = self._connection
        if kept is None or self._pid != os.getpid() or not is_usable(kept):
            self.close()
            kept = self._connection = connect(self._defaults)
            self._pid = os.getpid()
        return kept

    def execute[T](self, statement: Statement[T]) -> T:
        """Execute and commit; raises as the module's `execute`."""
        try:
            with explained(), self.connection.cursor() as cursor:
                cursor.execute(statement.sql.encode(), statement.parameters)
                return statement.read(cursor.fetchall())
        except LedgerUnavailable:
            # A server that can only be read since a failover keeps its connections: the next may reach another.
            self.close()
            raise

    def close(self) -> None:
        """Close it; the next statement opens another."""
        kept, self._connection = self._connection, None
        # Inherited through a fork, the socket is the parent's. psycopg says no goodbye on it from another process.
        if kept is not None and self._pid == os.getpid():
            kept.close()

    __del__ = close


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.kept = Kept()


_of_thread = _OfThread()


def own_connection() -> psycopg.Connection[Any]:
    """The thread's own connection, opened where there is none that works."""
    return _of_thread.kept.connection


def execute[T](statement: Statement[T]) -> T:
    """Execute and commit on this thread's own ledger connection.

    Raises `LedgerUnavailable` where the ledger took nothing, else psycopg's errors, which are about the values. What a
    lost connection may have committed is settled by the fence and the lease, so nothing is retried here.
    """
    return _of_thread.kept.execute(statement)


def close() -> None:
    """Close this thread's own ledger connection; the next statement opens another."""
    _of_thread.kept.close()


class _Threads:
    """The threads, and so the connections, that the async bodies of a process share for the ledger."""

    executor: ThreadPoolExecutor

    @classmethod
    def renew(cls) -> None:
        cls.executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="tandem-ledger")


_Threads.renew()
# A fork takes the executor along, but not its threads.
os.register_at_fork(after_in_child=_Threads.renew)


def close_threads() -> None:
    """Close the connections that async bodies share, once what runs on them is done; the next statement opens others."""
    executor = _Threads.executor
    _Threads.renew()
    executor.shutdown()


async def in_thread[**P, T](function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ledger work off the loop, beside nothing but ledger work; what it raises comes out."""
    return await asyncio.wrap_future(_Threads.executor.submit(function, *args, **kwargs))


async def aexecute[T](statement: Statement[T]) -> T:
    """As `execute`, awaited."""
    return await in_thread(execute, statement)
