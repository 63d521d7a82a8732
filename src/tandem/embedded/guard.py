"""Ends what a supervisor leaves behind when it is killed: a process of its own that outlives it by seconds.

Run by path, so that it imports nothing of Tandem and stays small. Its input is lines, each the process groups that
run now; the end of its input means that the supervisor is gone, however it went.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

__all__ = ["MARKER", "end", "main"]

MARKER: Final = "TANDEM_STACK_PROCESS"
"""The variable by which processes that left their group are recognised: its value is the stack's and the program's."""

POLL_SECONDS: Final = 0.05


def end(groups: Iterable[int], mark: str) -> None:
    """Kill every process of `groups`, and every other one whose environment carries `mark` (or `mark` and more)."""
    import psutil  # noqa: PLC0415 - costs memory that a waiting guard does without

    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            value = process.environ().get(MARKER, "")
            if process.pid != os.getpid() and (value == mark or value.startswith(f"{mark}/")):
                process.kill()


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main() -> None:
    """Wait for the end of the input, give the groups `sys.argv[2]` seconds to end by themselves, then end them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    mark, grace = sys.argv[1], float(sys.argv[2])
    groups: set[int] = set()
    for line in sys.stdin:
        groups = {int(word) for word in line.split()}
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(map(_lives, groups)):
        time.sleep(POLL_SECONDS)
    end(groups, mark)


if __name__ == "__main__":
    main()
