"""A clean state for each body, and threads of its own: no body finds what another left, or waits for its threads.

As around a request in Django: language, time zone and every other context variable are as the process has them,
connections are sound. What belongs to the whole process is not kept apart: its environment, working folder and locale.
"""

import asyncio
import contextvars
import decimal
import logging
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from weakref import WeakSet

import psycopg
from asgiref.sync import ThreadSensitiveContext
from django.core.cache import caches, close_caches
from django.db import connections, reset_queries
from django.tasks import task_backends
from psycopg.pq import TransactionStatus

from tandem.ledger import connection as ledger

__all__ = ["Threads", "apart", "run_apart", "tidy_connections"]

logger = logging.getLogger("tandem.runner")

# What Django makes for each context. A sync body's thread keeps them: they hold connections.
_HANDLERS: Final = (caches, task_backends)
_CANCEL_SECONDS: Final = 1.0


def run_apart[**P, T](function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync body in a clean state, and leave this thread as it was; what the body raises comes out."""
    _begin()
    context = contextvars.copy_context()
    context.run(_own_decimals)
    try:
        return context.run(function, *args, **kwargs)
    finally:
        for handler, alias, made in context.run(_end):
            handler[alias] = made
        tidy_connections()


@asynccontextmanager
async def apart() -> AsyncIterator["Threads"]:
    """Give an async body threads of its own, in its own asyncio task, whose context variables are its own already."""
    loop = asyncio.get_running_loop()
    if loop not in _prepared:
        loop.set_default_executor(_ByExecution(thread_name_prefix="tandem-loop"))
        _prepared.add(loop)
    threads = Threads()
    token = _threads.set(threads)
    _own_decimals()
    try:
        async with ThreadSensitiveContext(executor=threads):
            yield threads
    finally:
        _end()
        _threads.reset(token)
        threads.release()


def _begin() -> None:
    _drop_ended()
    reset_queries()


def _own_decimals() -> None:
    """Have this context change a decimal context of its own: a copied variable still names the same one."""
    decimal.setcontext(decimal.getcontext().copy())


def _end() -> list[tuple[Any, str, Any]]:
    """Close caches as Django does after a request, and answer what was made for this context.

    A cache that cannot be closed is no fault of the body, and keeps nothing else of it from being tidied.
    """
    try:
        close_caches()
    except Exception:
        logger.exception("A cache could not be closed.")
    return [
        (handler, alias, made)
        for handler in _HANDLERS
        for alias in handler
        if (made := getattr(vars(handler)["_connections"], alias, None)) is not None  # no public view says which
    ]


def _drop_ended() -> None:
    """Close those of Django's connections of this thread that the server has ended: the next use opens others.

    They are kept from body to body, and a restarted server ends them while nobody looks.
    """
    for connection in connections.all(initialized_only=True):
        raw = connection.connection
        if raw is not None and connection.vendor == "postgresql" and ledger.has_ended(raw):
            connection.close()


def tidy_connections() -> None:
    """Leave Django's connections of this thread as the next body needs them: open where sound, else closed.

    Open connections are kept whatever CONN_MAX_AGE says (a new one costs more than a task), but those of a pool go
    back to it. One that is in a transaction or in the middle of a statement, or that an error or the server ended,
    is closed, and the statement cancelled.
    """
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if not _is_sound(connection):
            if connection.vendor == "postgresql":
                _cut(connection.connection)
            connection.in_atomic_block = False
            connection.savepoint_ids = []
            connection.needs_rollback = False
            connection.closed_in_transaction = False
            connection.close()
        elif getattr(connection, "pool", None):
            connection.close()


def _is_sound(connection: Any) -> bool:
    if connection.in_atomic_block or connection.errors_occurred:
        return False
    if connection.get_autocommit() is not connection.settings_dict["AUTOCOMMIT"]:
        return False
    return connection.vendor != "postgresql" or ledger.is_usable(connection.connection)


def _cut(raw: psycopg.Connection[Any]) -> None:
    """Close a connection, and have the server drop what it still does for it."""
    if raw.info.transaction_status is TransactionStatus.ACTIVE:
        with suppress(psycopg.Error):
            raw.cancel_safe(timeout=_CANCEL_SECONDS)
    raw.close()


class Threads(Executor):
    """The threads of one execution: as an executor the one that Django takes (thread-sensitive), and `others`.

    Django's thread is lent when it is first needed, and kept with its connections for a later execution.
    """

    def __init__(self) -> None:
        self._own: ThreadPoolExecutor | None = None
        self._others: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function on Django's thread, after what was submitted before."""
        with self._lock:
            if self._own is None:
                self._own = _idle.pop() if _idle else ThreadPoolExecutor(1, thread_name_prefix="tandem-body")
                self._own.submit(_begin)
        return self._own.submit(fn, *args, **kwargs)

    def submit_other[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function on any other thread, beside others (`asyncio.to_thread`); its connections end with it."""
        with self._lock:
            if self._others is None:
                self._others = ThreadPoolExecutor(thread_name_prefix="tandem-body-other")
        return self._others.submit(_and_close, fn, *args, **kwargs)

    async def tidy(self) -> None:
        """Leave no transaction of the body behind, once Django's thread has done what it was given."""
        if self._own is not None:
            await asyncio.wrap_future(self._own.submit(tidy_connections))

    def release(self) -> None:
        """Give up the threads, each once it has done what it was given."""
        if self._own is not None:
            self._own.submit(_give_back, self._own)
        if self._others is not None:
            self._others.shutdown(wait=False)


def _give_back(thread: ThreadPoolExecutor) -> None:
    try:
        tidy_connections()
    finally:
        _idle.append(thread)


def _and_close[**P, T](function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return function(*args, **kwargs)
    finally:
        connections.close_all()


class _ByExecution(ThreadPoolExecutor):
    """A loop's default executor: what an execution submits runs on its own threads."""

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        threads = _threads.get()
        if threads is None:
            return super().submit(fn, *args, **kwargs)
        return threads.submit_other(fn, *args, **kwargs)


_threads: Final = contextvars.ContextVar[Threads | None]("tandem_threads", default=None)
_idle: Final[deque[ThreadPoolExecutor]] = deque()
_prepared: Final = WeakSet[asyncio.AbstractEventLoop]()
# A fork takes the executors along, but not their threads.
os.register_at_fork(after_in_child=_idle.clear)
