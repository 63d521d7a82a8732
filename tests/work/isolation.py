"""Bodies that leave things behind, and bodies that say what they find; signals' receivers that take their time."""

import asyncio
import contextvars
import decimal
import time
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.dispatch import receiver
from django.tasks.signals import task_started
from django.utils import timezone, translation

from tandem import AsyncContext, task
from tests.work.effects import record, recorded
from tests.work.tasks import add

_LEFT: Final = contextvars.ContextVar("left", default="nothing")
_RECEIVER_SECONDS: Final = 1.5


def _leave() -> None:
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    decimal.getcontext().prec = 3
    _LEFT.set("something")


def _found() -> dict[str, Any]:
    return {
        "language": translation.get_language(),
        "time zone": timezone.get_current_timezone_name(),
        "precision": decimal.getcontext().prec,
        "variable": _LEFT.get(),
    }


def _write(mark: str) -> None:
    from django.contrib.auth.models import Group  # noqa: PLC0415  # not every site that has these tasks has accounts

    Group.objects.create(name=mark)


@task
def leave_behind() -> None:
    _leave()


@task
async def leave_behind_async() -> None:
    _leave()
    await sync_to_async(_leave)()
    await asyncio.to_thread(_leave)


@task
def find() -> list[dict[str, Any]]:
    return [_found()]


@task
async def find_async() -> list[dict[str, Any]]:
    return [_found(), await sync_to_async(_found)(), await asyncio.to_thread(_found)]


@task
def leave_transaction(mark: str) -> None:
    transaction.set_autocommit(False)
    _write(mark)


@task
async def leave_transaction_async(mark: str) -> None:
    await sync_to_async(transaction.set_autocommit)(False)
    await sync_to_async(_write)(mark)


def _enter_atomic(mark: str) -> None:
    transaction.atomic().__enter__()
    _write(mark)


@task
def leave_atomic(mark: str) -> None:
    _enter_atomic(mark)


@task
async def leave_atomic_async(mark: str) -> None:
    await asyncio.to_thread(_enter_atomic, f"{mark}-other")
    await sync_to_async(_enter_atomic)(mark)


@task
def write(mark: str) -> None:
    _write(mark)


@task
async def write_async(mark: str) -> None:
    await sync_to_async(_write)(mark)
    await asyncio.to_thread(_write, f"{mark}-other")


def _ask_slowly(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s) AS isolation", [seconds])


@task(time_limit=0.5)
def too_long_in_database(seconds: float) -> None:
    _ask_slowly(seconds)


@task(time_limit=0.5)
async def too_long_in_database_async(seconds: float) -> None:
    await sync_to_async(_ask_slowly)(seconds)


def _meet(mark: str, parties: int) -> None:
    record(mark)
    deadline = time.monotonic() + 20
    while len(recorded(mark)) < parties and time.monotonic() < deadline:
        time.sleep(0.02)


@task
async def meet_in_threads(mark: str, parties: int, each: int) -> int:
    """Ends once so many bodies have each so many of its threads at work, and Django's, at the same time."""
    calls = [asyncio.to_thread(_meet, mark, parties * (each + 1)) for _ in range(each)]
    await asyncio.gather(sync_to_async(_meet)(mark, parties * (each + 1)), *calls)
    return len(recorded(mark))


@task(time_limit=1.0)
def heard_slowly() -> str:
    return "ran"


@task(time_limit=1.0)
async def heard_slowly_async() -> str:
    return "ran"


@receiver(task_started)
def _take_time(task_result: Any, **_: Any) -> None:
    if task_result.task.name.startswith("heard_slowly"):
        time.sleep(_RECEIVER_SECONDS)


@task(takes_context=True)
async def call_elsewhere_async(context: AsyncContext, engine: str) -> list[Any]:
    pinned = add.using(engine=engine)
    return [await context.call(pinned, 1), *await context.gather(pinned.bind(2), pinned.bind(3, right=3))]
