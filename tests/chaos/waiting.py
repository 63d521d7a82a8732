"""Waiting for a condition, bounded: the bound is for a broken system, never a measure."""

import time
from collections.abc import Callable

__all__ = ["Overdue", "until"]


class Overdue(RuntimeError):
    """A condition that must become true did not; says which."""


def until[T](condition: Callable[[], T | None], what: str, *, seconds: float = 60.0) -> T:
    """Ask until the answer is true, and answer it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise Overdue(f"Waited {seconds:g} s in vain: {what}")
        time.sleep(0.01)
    return found
