"""Calls from outside, through Restate's ingress, to tasks that say `external=True`."""

import json
from datetime import timedelta
from inspect import signature
from typing import Any, Final
from uuid import UUID

import psycopg
import restate
from restate.exceptions import RetryableError, TerminalError

from tandem.declarations import Task
from tandem.engines.restate.targets import NAME
from tandem.exceptions import LedgerUnavailable
from tandem.ledger import connection as ledger
from tandem.ledger.hot import inserts
from tandem.ledger.identity import derived_id
from tandem.ledger.rows import NewExecution
from tandem.values import InvalidValue, decode, said

__all__ = ["accept"]

_LEDGER_SECONDS: Final = 1.0


async def accept(task: Task, context: restate.Context, body: bytes, *, limit: int) -> UUID:
    """Take a call that carries no reference, and answer its execution's id, derived from the invocation's.

    The JSON object is the keyword arguments; the row is the invocation's first step. Raises `TerminalError` where the
    task takes no calls (403) or the arguments do not fit (400), `RetryableError` where the ledger does not answer.
    """
    name = task.module_path
    if not task.external:
        raise TerminalError(
            f"{name} cannot be called through the ingress: its executions are enqueued. Set @task(external=True)"
            " to allow it.",
            403,
        )
    arguments = _keyword_arguments(task, body, limit=limit)
    id_ = derived_id(NAME, context.request().id)
    new = NewExecution(
        id=id_,
        task=name,
        queue=task.queue_name,
        priority=task.priority,
        arguments=json.dumps({"args": [], "kwargs": arguments}),
        engine=NAME,
        reason="ingress",
        pinned=False,
        phase="queued",
    )

    async def insert() -> str:
        try:
            await ledger.aexecute(inserts.insert_one(new))
        except LedgerUnavailable as error:
            raise RetryableError(str(error), retry_after=timedelta(seconds=_LEDGER_SECONDS)) from error
        except (psycopg.Error, ValueError) as error:
            raise TerminalError(f"PostgreSQL cannot store the arguments of {name}: {said(error)}.", 400) from None
        return str(id_)

    await context.run_typed("accept", insert)
    return id_


def _keyword_arguments(task: Task, body: bytes, *, limit: int) -> dict[str, Any]:
    """Read and check a caller's arguments; raises `TerminalError` that says what they must be."""
    name = task.module_path
    try:
        arguments = decode(body.strip() or b"{}", what=f"The arguments of {name}", limit=limit)
    except InvalidValue as error:
        raise TerminalError(str(error), 400) from None
    expected = signature(task.func)
    shown = ", ".join(list(expected.parameters)[1 if task.takes_context else 0 :])
    if not isinstance(arguments, dict):
        raise TerminalError(
            f"The arguments of {name} must be a JSON object with {shown or 'nothing in it'}, not"
            f" {type(arguments).__name__}.",
            400,
        )
    try:
        expected.bind(*((None,) if task.takes_context else ()), **arguments)
    except TypeError as error:
        raise TerminalError(
            f"The arguments of {name} do not fit: {error}. It takes: {shown or 'nothing'}.", 400
        ) from None
    return arguments
