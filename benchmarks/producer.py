"""The process that enqueues for one contender, and stays: its connections and caches are warm, as a web process's.

It reads one JSON command a line and answers one JSON line; what libraries print goes to the log.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol, cast

import django

from benchmarks import channel

__all__ = ["main"]

_GAP_SECONDS: Final = (0.008, 0.016)
_LOST_AFTER_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.0005


class Client(Protocol):
    """A contender's module; those that can have `stepped` and `workflow` beside `bulk`."""

    def single(self, index: int) -> None: ...

    def bulk(self, indexes: range) -> None: ...


def single(client: Client, *, first: int, count: int) -> Mapping[str, Any]:
    """One thread, one task at a time."""
    begun = time.perf_counter()
    for index in range(first, first + count):
        client.single(index)
    return {"seconds": time.perf_counter() - begun}


def many(client: Client, *, first: int, count: int, name: str) -> Mapping[str, Any]:
    """Many of one kind, the contender's quickest way; `began` is CLOCK_MONOTONIC in nanoseconds."""
    began = time.monotonic_ns()
    getattr(client, name)(range(first, first + count))
    return {"seconds": (time.monotonic_ns() - began) / 1e9, "began": began}


def idle(client: Client, *, first: int, count: int, file: str, looks: float) -> Mapping[str, Any]:
    """One task after the other, each once the one before has started and a short, uneven gap has passed.

    Where an idle worker looks for work every so often, the gap is any part of that, so that no task comes just after a look.
    Answers the nanoseconds of CLOCK_MONOTONIC before each enqueue; ends early with a task that does not start.
    """
    path = Path(file)
    uneven = random.Random(first)
    before = []
    for index in range(first, first + count):
        expected = channel.started(path) + 1
        before.append(time.monotonic_ns())
        client.single(index)
        deadline = time.monotonic() + _LOST_AFTER_SECONDS
        while channel.started(path) < expected:
            if time.monotonic() > deadline:
                return {"before": before}
            time.sleep(_POLL_SECONDS)
        time.sleep(uneven.uniform(*_GAP_SECONDS) + uneven.uniform(0, looks))
    return {"before": before}


COMMANDS: Final[Mapping[str, Callable[..., Mapping[str, Any]]]] = {"single": single, "many": many, "idle": idle}


def main(module: str) -> None:
    """Answer commands until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    django.setup()
    client = cast("Client", import_module(module))
    for line in sys.stdin:
        command = json.loads(line)
        answer = COMMANDS[command.pop("command")](client, **command)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
