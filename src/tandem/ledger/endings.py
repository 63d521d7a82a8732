"""What follows a statement that ended an execution, or took it from a process that is gone.

Its parent is told, and, where no body saw the end, whoever listens to `task_finished`: by the process that wrote the
end, and so once.
"""

import json
import logging
import os
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from django.db import connections
from django.tasks.signals import task_finished

from tandem import registry
from tandem.exceptions import UnknownTask
from tandem.ledger import connection as ledger
from tandem.ledger.models import Execution
from tandem.ledger.operating import cancels
from tandem.ledger.results import result_of_row
from tandem.ledger.statement import Statement
from tandem.ledger.suspension import wakes
from tandem.ledger.times import as_django

__all__ = ["announce", "announce_elsewhere", "cancel", "log_requeued", "tell_parent"]

logger = logging.getLogger("tandem.endings")

_JSON: Final = ("arguments", "trace", "result", "errors", "worker_ids")

type _Execute = Callable[[Statement[Any]], Any]


def cancel(id_: UUID, *, by: str | None, execute: _Execute) -> cancels.Cancelled:
    """End or ask an execution and all its unfinished children; answers what was done to itself, and who ended.

    What runs may have borne children while this waited for its row. Once asked, it bears none.
    """
    statement = cancels.cancel(id=id_, by=by)
    done: cancels.Cancelled = execute(statement)
    look = done
    while look.asked:
        look = execute(statement)
        done = replace(done, stopped=(*done.stopped, *look.stopped))
    return done


def tell_parent(parent: UUID | None) -> None:
    """Wake the parent of an execution whose end is committed, where it has one and this was the last child."""
    if parent is not None:
        ledger.execute(wakes.wake_parent(parent))


def log_requeued(taken: Iterable[tuple[UUID, str | None, UUID | None]], *, lost: str, logger: logging.Logger) -> None:
    """Log each execution that was taken over, which `lost` something, and tell of those that ended.

    `taken` are `(id, outcome, parent)`, as `backlog.requeue_expired` reads them.
    """
    ended: list[UUID] = []
    for id_, outcome, parent in taken:
        logger.warning("%s lost %s: %s.", id_, lost, outcome or "it is sent again")
        if outcome is not None:
            ended.append(id_)
            tell_parent(parent)
    announce_elsewhere(ended)


def announce(ids: Collection[UUID], *, execute: _Execute) -> None:
    """Send `task_finished` for executions that have ended, with what their rows say.

    Django's own receiver logs failures as errors; where even that is off and nobody else listens, nothing is read.
    """
    if not ids or (
        len(task_finished.receivers) <= 1 and not logging.getLogger("django.tasks").isEnabledFor(logging.ERROR)
    ):
        return
    for row in execute(_rows(ids)):
        try:
            task = registry.resolve(row.task)
        except UnknownTask as error:
            logger.warning("task_finished is not sent for %s: %s", row.id, error)
            continue
        task_finished.send_robust(type(task.get_backend()), task_result=result_of_row(task, row, None))


def announce_elsewhere(ids: Collection[UUID]) -> None:
    """As `announce`, on a thread of its own: a receiver that is slow holds up neither a heartbeat nor a relay."""
    if ids:
        _speaker(os.getpid()).submit(_announce_apart, ids)


def _announce_apart(ids: Collection[UUID]) -> None:
    try:
        announce(ids, execute=ledger.execute)
    except Exception:
        logger.exception("task_finished was not sent for %s.", ", ".join(map(str, ids)))
    finally:
        connections.close_all()
        ledger.close()


@cache
def _speaker(_pid: int) -> ThreadPoolExecutor:
    """The thread of a process; a fork gets its own."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="tandem-endings")


def _rows(ids: Collection[UUID]) -> Statement[list[Execution]]:
    names: list[str] = [field.attname for field in Execution._meta.concrete_fields]  # noqa: SLF001  # Django's public name
    columns = ", ".join(f"{name}::text" if name in _JSON else name for name in names)
    sql = f"SELECT {columns} FROM tandem_execution WHERE id = ANY(%(ids)s::uuid[]) AND outcome IS NOT NULL"

    def read(rows: Iterable[tuple[Any, ...]]) -> list[Execution]:
        return [Execution.from_db(ledger.LEDGER_DATABASE, names, list(map(_plain, names, row))) for row in rows]

    return Statement("ended", sql, {"ids": list(ids)}, read)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return as_django(value)
    return json.loads(value) if name in _JSON and value is not None else value
