"""What the programs print: to a file each, to the console by name, and the last lines kept for error messages."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import cycle
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Final, TextIO

__all__ = ["Console", "Log"]

LARGEST_FILE_BYTES: Final = 10_000_000
LONGEST_LINE_BYTES: Final = 65_536
LAST_LINES: Final = 15
COLOURS: Final = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)


class Console:
    """A terminal or file shared by all programs; `None` keeps quiet. Coloured only on a terminal without `NO_COLOR`."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._coloured = stream is not None and stream.isatty() and "NO_COLOR" not in os.environ
        self._prefixes: dict[str, str] = {}

    def names(self, names: Sequence[str]) -> None:
        """Give each name its colour, and all prefixes one width."""
        for name, colour in zip(names, cycle(COLOURS)):
            prefix = f"{name:>{max(map(len, names))}} |"
            self._prefixes[name] = f"\x1b[{colour}m{prefix}\x1b[0m" if self._coloured else prefix

    def write(self, name: str, line: str) -> None:
        """Write one line; a console that went away, such as a closed pipe, is written to no more."""
        with self._lock:
            if self._stream is None:
                return
            try:
                self._stream.write(f"{self._prefixes.get(name, name)} {line}\n")
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None


class Log:
    """The log of one program: `FOLDER/NAME.log`, with UTC times, of at most 10 MB and one older one."""

    def __init__(self, name: str, *, folder: Path, console: Console) -> None:
        self.name = name
        self.path = folder / f"{name}.log"
        self._console = console
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._file = RotatingFileHandler(self.path, maxBytes=LARGEST_FILE_BYTES, backupCount=1, delay=True)
        formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(message)s", "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        self._file.setFormatter(formatter)

    def write(self, line: str) -> None:
        """Keep one line and show it."""
        self._last.append(line)
        # `handle` takes the handler's lock: the program's lines and the supervisor's come from two threads.
        self._file.handle(logging.makeLogRecord({"msg": line}))
        self._console.write(self.name, line)

    def lines(self, stream: IO[bytes]) -> Iterable[str]:
        """Yield the lines of `stream` until it ends, each kept and shown; very long ones come in pieces."""
        while chunk := stream.readline(LONGEST_LINE_BYTES):
            line = chunk.decode(errors="replace").rstrip("\r\n")
            self.write(line)
            yield line

    def tail(self) -> str:
        """Answer the last lines, indented, and where the rest is."""
        return "\n".join([*(f"    {line}" for line in self._last), f"    (the whole log: {self.path})"])

    def close(self) -> None:
        """Close the file."""
        self._file.close()
