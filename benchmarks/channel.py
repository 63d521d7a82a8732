"""How bodies say that they ran, the same way for every contender: one small record appended to a file.

Appends of a few bytes are atomic, so nothing is lost or overwritten between processes, and a body that runs twice
leaves two records. Times are CLOCK_MONOTONIC, which all processes of one machine share.
"""

import os
import struct
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from benchmarks.environment import Environment

__all__ = ["Start", "read", "record", "started"]

_RECORD = struct.Struct("<qqq")


class Start(NamedTuple):
    """One body that started: which task, when (nanoseconds), in which process."""

    number: int
    at: int
    process: int


@cache
def _descriptor() -> int:
    return os.open(Environment.read().channel, os.O_WRONLY | os.O_APPEND)


def record(number: int) -> None:
    """Say that the body of task `number` starts now."""
    at = time.monotonic_ns()
    os.write(_descriptor(), _RECORD.pack(number, at, os.getpid()))


def started(channel: Path) -> int:
    """How many bodies have started."""
    return channel.stat().st_size // _RECORD.size


def read(channel: Path, skip: int = 0) -> list[Start]:
    """Every start after the first `skip`, in the order of the file."""
    data = channel.read_bytes()[skip * _RECORD.size :]
    return [Start(*fields) for fields in _RECORD.iter_unpack(data[: len(data) // _RECORD.size * _RECORD.size])]
