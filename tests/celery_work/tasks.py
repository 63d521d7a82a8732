"""Bodies that only a Celery worker's parent can deal with, and a plain Celery task."""

import ctypes
import os
import signal
import time
from typing import Any

from celery import shared_task
from celery.signals import task_retry

from tandem import AsyncContext, Context, task
from tests.work.effects import record


@task
def hold_the_gil(mark: str, seconds: int) -> str:
    """A C function that keeps the GIL silences every thread of its process."""
    record(mark, "started")
    ctypes.PyDLL(None).sleep(seconds)
    record(mark, "ended")
    return "held"


@task(retries=1, backoff=0.1)
def kill_its_process(mark: str) -> str:
    """Dies in the first attempt, as under the kernel's OOM killer."""
    record(mark)
    if len(_lines(mark)) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@task
def end_its_process(mark: str) -> None:
    """Tells its own process to end, each time, as the worker's parent does."""
    record(mark)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


def _lines(mark: str) -> list[Any]:
    from tests.work.effects import recorded  # noqa: PLC0415  # only this body reads

    return recorded(mark)


@task(time_limit=0.5, retries=1, backoff=0.1)
def ignore_the_limit(mark: str) -> str:
    """Swallows every exception in the first attempt; the second ends."""
    record(mark)
    if len(_lines(mark)) > 1:
        return "second"
    return _stubborn(20)


@task(takes_context=True)
def ignore_the_cancel(context: Context, mark: str) -> str:
    """Never asks its context anything."""
    record(mark)
    return _stubborn(20)


@task(takes_context=True)
def parent_of_the_deaf(context: Context, mark: str) -> Any:
    return context.call(ignore_the_cancel, mark)


def _stubborn(seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            time.sleep(0.05)
        except Exception:  # noqa: BLE001  # that is the point
            continue
    return "ran to its end"


@task(takes_context=True, time_limit=0.5)
async def too_long_async(context: AsyncContext, mark: str) -> str:
    """Waits on its loop, past its time limit."""
    import asyncio  # noqa: PLC0415  # only this body waits

    record(mark, "started")
    await asyncio.sleep(20)
    return "ran to its end"


@task(takes_context=True)
def two_sleeps(context: Context, mark: str) -> list[str]:
    """Suspends twice; steps before, between and after."""
    done = [context.step("first", _effect, mark, "first")]
    context.sleep(0.3)
    done.append(context.step("second", _effect, mark, "second"))
    context.sleep(0.3)
    return [*done, context.step("third", _effect, mark, "third")]


def _effect(mark: str, name: str) -> str:
    record(mark, name)
    return name


@task
def pause(mark: str, seconds: float) -> str:
    """An ordinary body that takes its time."""
    record(mark, "started")
    time.sleep(seconds)
    record(mark, "ended")
    return "paused"


@task
async def pause_async(mark: str, seconds: float) -> str:
    """As `pause`, on a loop."""
    import asyncio  # noqa: PLC0415  # only async bodies wait so

    record(mark, "started")
    await asyncio.sleep(seconds)
    record(mark, "ended")
    return "paused"


@shared_task(name="plain.task")  # type: ignore[untyped-decorator]  # Celery ships no types
def plain(mark: str) -> str:
    """A Celery task as a project already has them."""
    record(mark, "plain")
    return "plain"


def _hear_late(**_: Any) -> None:
    """A project's own receiver that takes long: until a test opens the other end of a named pipe."""
    if pipe := os.environ.get("TANDEM_TEST_PIPE"):
        os.close(os.open(pipe, os.O_RDONLY))


task_retry.connect(_hear_late)
