"""Bodies under which the ledger's server turns read-only, as it does when another becomes the primary."""

from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import connection

from tandem import AsyncContext, Context, task
from tandem.ledger import connection as ledger
from tandem.ledger.statement import Statement

__all__ = ["BODIES", "READ_ONLY", "STARTED"]

READ_ONLY: Final = Statement(
    "read_only", "SELECT set_config('default_transaction_read_only', 'on', false)", {}, lambda rows: rows
)
STARTED: Final[list[str]] = []


def _first(context: Context | AsyncContext) -> bool:
    STARTED.append(context.task_result.id)
    return STARTED.count(context.task_result.id) == 1


def _django_turns() -> int:
    with connection.cursor() as cursor:
        cursor.execute(READ_ONLY.sql)
    return 1


@task(takes_context=True)
def in_a_step(context: Context) -> int:
    if _first(context):
        ledger.execute(READ_ONLY)
    return context.step("one", lambda: 1)


@task(takes_context=True)
async def in_an_async_step(context: AsyncContext) -> int:
    if _first(context):
        await ledger.aexecute(READ_ONLY)

    async def one() -> int:
        return 1

    return await context.step("one", one)


@task(takes_context=True)
def in_an_atomic_step(context: Context) -> int:
    if _first(context):
        _django_turns()
    return context.step("one", lambda: 1, atomic=True)


@task(takes_context=True)
async def in_an_async_atomic_step(context: AsyncContext) -> int:
    if _first(context):
        await sync_to_async(_django_turns)()
    return await context.step("one", lambda: 1, atomic=True)


@task(takes_context=True)
def at_the_end(context: Context) -> int:
    if _first(context):
        ledger.execute(READ_ONLY)
    return 1


BODIES: Final[list[Any]] = [in_a_step, in_an_async_step, in_an_atomic_step, in_an_async_atomic_step, at_the_end]
