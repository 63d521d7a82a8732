"""Waiting for a condition, with a deadline, and saying what took how long."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from local_node.errors import NodeError

__all__ = ["step", "until"]

POLL_SECONDS = 0.1


def until(probe: Callable[[], str | None], *, what: str, seconds: float) -> None:
    """Ask `probe` until it answers `None`; any text is the reason why `what` is not so yet.

    Raises:
        NodeError: not within `seconds`; with the last reason.

    """
    deadline = time.monotonic() + seconds
    while (reason := probe()) is not None:
        if time.monotonic() >= deadline:
            raise NodeError(f"{what}: not within {seconds:g} s: {reason}")
        time.sleep(POLL_SECONDS)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print `what` and the seconds of its block, when that ends well."""
    started = time.monotonic()
    yield
    print(f"{what} in {time.monotonic() - started:.1f} s", flush=True)
