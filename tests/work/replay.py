"""One task that runs a body given as data, and crashes at a boundary of its calls, once."""

import os
import signal
import time
from collections.abc import Sequence
from typing import Any, Final

from django.db import connection

from tandem import Context, Retryable, task
from tests.work.effects import record, recorded
from tests.work.tasks import add

__all__ = ["CALLS", "TABLE", "replay"]

CALLS: Final = ("step", "atomic", "sleep", "wait", "call")
TABLE: Final = "work_replay"

_PARTIES_SECONDS: Final = 30.0


def _effect(mark: str, number: int) -> int:
    record(mark, number)
    return number


def _row(mark: str, number: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {TABLE} (mark, number) VALUES (%s, %s)", [mark, number])
    return number


def _perform(context: Context, call: str, mark: str, number: int) -> Any:
    if call == "step":
        return context.step(call, _effect, mark, number)
    if call == "atomic":
        return context.step(call, _row, mark, number, atomic=True)
    if call == "wait":
        return context.wait("signal")
    if call == "call":
        return context.call(add, number)
    context.sleep(0)
    return None


@task(takes_context=True, retries=1, backoff=0)
def replay(context: Context, mark: str, body: Sequence[str], crash: int | None = None, parties: int = 0) -> list[Any]:
    """Make the calls of `body`; the first attempt ends before call number `crash`, or after the last.

    It raises, or kills its process once so many bodies are there to be killed with it.
    """
    answers = []
    for number, call in enumerate([*body, None]):
        if number == crash and context.attempt == 1:
            _crash(mark, parties)
        if call is not None:
            answers.append(_perform(context, call, mark, number))
    return answers


def _crash(mark: str, parties: int) -> None:
    if not parties:
        raise Retryable("a crash", after=0)
    meeting = f"{mark.partition('/')[0]}/meeting"
    record(meeting)
    deadline = time.monotonic() + _PARTIES_SECONDS
    while len(recorded(meeting)) < parties and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)
