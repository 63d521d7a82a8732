"""Each task answers with the name of the pod that its accepted attempt ran in."""

import socket
import time
from typing import Any

from tandem import Context, task

__all__ = ["busy", "plain", "slow", "stepped"]


@task(retries=3, time_limit=60)
def plain(number: int) -> dict[str, Any]:
    """The shortest of tasks."""
    return {"number": number, "pod": socket.gethostname()}


@task(retries=3, time_limit=60)
def slow(seconds: float) -> dict[str, Any]:
    """Holds its place for so long."""
    time.sleep(seconds)
    return {"pod": socket.gethostname()}


@task(retries=3, time_limit=60, workflow="Busy")
def busy(seconds: float) -> dict[str, Any]:
    """As `slow`, in a service of its own on Restate."""
    time.sleep(seconds)
    return {"pod": socket.gethostname()}


@task(takes_context=True, retries=3, time_limit=60, workflow="Stepped")
def stepped(context: Context, number: int, seconds: float) -> dict[str, Any]:
    """Two steps with a sleep between them."""
    first: int = context.step("first", lambda: number + 1)
    context.sleep(seconds)
    second: int = context.step("second", lambda: first + 1)
    return {"number": second, "pod": socket.gethostname()}
