"""The load: what runs while faults are injected. Every body and step writes to the side-effect log.

A body answers its number and the fence of its attempt: the ledger's row must end with that same fence. None has
retries: no body here fails by itself, so whatever makes an attempt fail is a fault's doing, and nobody asked for it.
"""

import asyncio
import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import connection

from tandem import AsyncContext, Context, task
from tandem.declarations import Task
from tests.chaos import log

__all__ = [
    "CHILDREN",
    "KINDS",
    "REVISION",
    "SIGNAL",
    "atomic",
    "atomic_async",
    "caller",
    "changing",
    "child",
    "gatherer",
    "hold",
    "long",
    "plain",
    "quick",
    "stepped",
    "stepped_async",
    "waiter",
    "workflow",
]

REVISION: Final = "TANDEM_CHAOS_REVISION"
SIGNAL: Final = "approved"

PLAIN_SECONDS: Final = 0.05
STEP_SECONDS: Final = 0.1
SLEEP_SECONDS: Final = 0.5
DEPLOY_SECONDS: Final = 8.0


@contextmanager
def _body(context: Context | AsyncContext) -> Iterator[int]:
    """Log a body's start and its end, and answer the fence of its attempt."""
    fence = context._calls.attempt.claim.fence
    log.write("body-start", context.execution_id, fence)
    try:
        yield fence
    finally:
        log.write("body-end", context.execution_id, fence)


def _step(context: Context, fence: int, name: str) -> None:
    context.step(name, _effect, context.execution_id, fence, name)


def _effect(execution: str, fence: int, name: str) -> int:
    log.write("step-start", execution, fence, name)
    time.sleep(STEP_SECONDS)
    log.write("step-end", execution, fence, name)
    return fence


async def _astep(context: AsyncContext, fence: int, name: str) -> None:
    await context.step(name, _aeffect, context.execution_id, fence, name)


async def _aeffect(execution: str, fence: int, name: str) -> int:
    log.write("step-start", execution, fence, name)
    await asyncio.sleep(STEP_SECONDS)
    log.write("step-end", execution, fence, name)
    return fence


def _answer(number: int, fence: int, **more: Any) -> dict[str, Any]:
    return {"number": number, "fence": fence} | more


@task(takes_context=True)
def plain(context: Context, number: int) -> dict[str, Any]:
    with _body(context) as fence:
        time.sleep(PLAIN_SECONDS)
        return _answer(number, fence)


@task(takes_context=True)
def stepped(context: Context, number: int) -> dict[str, Any]:
    """Progress carries the fence too, where a stale one would show."""
    with _body(context) as fence:
        for name in ("one", "two", "three", "four"):
            context.progress(fence)
            _step(context, fence, name)
        return _answer(number, fence)


@task(takes_context=True, workflow="ChaosWorkflow")
def workflow(context: Context, number: int) -> dict[str, Any]:
    with _body(context) as fence:
        _step(context, fence, "before")
        context.sleep(SLEEP_SECONDS)
        _step(context, fence, "between")
        context.sleep(SLEEP_SECONDS)
        _step(context, fence, "after")
        return _answer(number, fence)


@task(takes_context=True)
def atomic(context: Context, number: int) -> dict[str, Any]:
    """Each step's effect is a row of the same database, written with its checkpoint or not at all."""
    with _body(context) as fence:
        for name in ("debit", "credit"):
            context.step(name, _entry, context.execution_id, fence, name, atomic=True)
        return _answer(number, fence)


def _entry(execution: str, fence: int, name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO chaos_effect (execution_id, name) VALUES (%s, %s)", [execution, name])
    return _effect(execution, fence, name)


@task(takes_context=True)
def child(context: Context, number: int) -> dict[str, Any]:
    """What parents have run: one recorded step."""
    with _body(context) as fence:
        _step(context, fence, "only")
        return _answer(number, fence)


@task(takes_context=True)
def caller(context: Context, number: int) -> dict[str, Any]:
    with _body(context) as fence:
        _step(context, fence, "before")
        answer = context.call(child, number)
        _step(context, fence, "after")
        return _answer(number, fence, children=[answer])


@task(takes_context=True)
def gatherer(context: Context, number: int) -> dict[str, Any]:
    with _body(context) as fence:
        _step(context, fence, "before")
        answers = context.gather(*(child.bind(number + place) for place in range(CHILDREN["gatherer"])))
        _step(context, fence, "after")
        return _answer(number, fence, children=answers)


@task(takes_context=True, workflow="WaitingWorkflow")
def waiter(context: Context, number: int) -> dict[str, Any]:
    """Hears its number, which whoever approves it sends."""
    with _body(context) as fence:
        _step(context, fence, "asked")
        heard = context.wait(SIGNAL)
        _step(context, fence, "answered")
        return _answer(number, fence, heard=heard)


@task(takes_context=True)
async def stepped_async(context: AsyncContext, number: int) -> dict[str, Any]:
    with _body(context) as fence:
        for name in ("one", "two"):
            await context.progress(fence)
            await _astep(context, fence, name)
        await context.sleep(SLEEP_SECONDS)
        await _astep(context, fence, "three")
        return _answer(number, fence)


@task(takes_context=True)
async def atomic_async(context: AsyncContext, number: int) -> dict[str, Any]:
    with _body(context) as fence:
        for name in ("debit", "credit"):
            await context.step(name, _entry, context.execution_id, fence, name, atomic=True)
        return _answer(number, fence)


@task(takes_context=True, workflow="ChangingWorkflow")
def changing(context: Context, number: int) -> dict[str, Any]:
    """A workflow whose next release has its steps in another order."""
    names = ["reserve", "charge"]
    if os.environ.get(REVISION) == "2":
        names.reverse()
    with _body(context) as fence:
        _step(context, fence, names[0])
        context.sleep(DEPLOY_SECONDS)
        _step(context, fence, names[1])
        return _answer(number, fence)


@task(takes_context=True)
def hold(context: Context, number: int) -> dict[str, Any]:
    """Hold the GIL for so many seconds, in a C function: every thread of the process is silent meanwhile."""
    with _body(context) as fence:
        ctypes.PyDLL(None).sleep(number)
        return _answer(number, fence)


@task(takes_context=True)
def long(context: Context, number: int) -> dict[str, Any]:
    """Take so many short steps."""
    with _body(context) as fence:
        for place in range(number):
            _step(context, fence, f"step-{place}")
        return _answer(number, fence)


@task
def quick(number: int) -> int:
    return number


CHILDREN: Final = {"caller": 1, "gatherer": 3}
"""How many children an execution of a task has; of all others none."""

KINDS: Final[tuple[Task, ...]] = (
    plain,
    stepped,
    caller,
    workflow,
    atomic,
    gatherer,
    stepped_async,
    waiter,
    atomic_async,
)
