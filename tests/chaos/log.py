"""The side-effect log: one line for each start and end of a body or a step, written by whatever process runs it.

It outlives any process, and says what the ledger cannot: what really ran, when, and for which attempt.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

__all__ = ["VARIABLE", "Line", "read", "write"]

VARIABLE: Final = "TANDEM_CHAOS_LOG"

type Event = Literal["body-start", "body-end", "step-start", "step-end", "request-start", "request-end"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What happened at `at` (the machine's clock, which the database shares) in process `pid`.

    `fence` is the claim of the attempt; `name` is a step's, empty for bodies.
    """

    at: float
    pid: int
    event: Event
    execution: str
    fence: int
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        at, pid, event, execution, fence, name = text.split(" ")
        return cls(at=float(at), pid=int(pid), event=event, execution=execution, fence=int(fence), name=name)  # type: ignore[arg-type]  # our own lines


def write(event: Event, execution: str, fence: int, name: str = "") -> None:
    """Append one line; a short write to a file opened for appending is atomic."""
    text = f"{time.time():.6f} {os.getpid()} {event} {execution} {fence} {name}\n"
    descriptor = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def read(path: Path, *, offset: int = 0) -> list[Line]:
    """Every whole line from a place in the file on."""
    if not path.exists():
        return []
    with path.open("rb") as log:
        log.seek(offset)
        text = log.read().decode()
    return [Line.parse(line) for line in text[: text.rfind("\n") + 1].splitlines()]
