"""Processes of a run: each in a group of its own, ended by that group, none left behind."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from benchmarks.environment import ROOT, Environment

__all__ = ["ProcessDied", "Processes", "end_group", "python", "with_parent"]

_PATIENCE_SECONDS: Final = 30
_TAIL: Final = 3_000
_TIED: Final = ("setpriv", "--pdeathsig", "TERM", "--")


class ProcessDied(RuntimeError):
    """A process that had to run has ended; says which, and the end of its log."""


def python(*arguments: str) -> list[str]:
    """The command line of this same Python."""
    return [sys.executable, *arguments]


@dataclass(kw_only=True)
class Processes:
    """Processes that are started together and, leaving the `with` block, ended together."""

    environment: Environment
    logs: Path
    commands: Sequence[Sequence[str]]
    _started: list[tuple[subprocess.Popen[bytes], Path]] = field(default_factory=list)

    def _start(self, command: Sequence[str]) -> None:
        """Start one, its output in a log file."""
        log = self.logs / f"{self.environment.contender}-{len(list(self.logs.iterdir()))}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                with_parent(command),
                env=self.environment.variables(),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append((process, log))

    def check(self) -> None:
        """Raise `ProcessDied` where one has ended."""
        for process, log in self._started:
            if process.poll() is not None:
                tail = log.read_text(errors="replace")[-_TAIL:]
                raise ProcessDied(f"{process.args!r} ended with {process.returncode}. The end of its log:\n{tail}")

    def pids(self) -> dict[str, int]:
        """The processes by what they are: `worker`, `service`, `relay`."""
        words = [command[command.index("tandem") + 1] if "tandem" in command else "worker" for command in self.commands]
        return {
            f"{word} {at}" if words.count(word) > 1 else word: process.pid
            for at, (word, (process, _)) in enumerate(zip(words, self._started, strict=True), 1)
        }

    def stop(self) -> None:
        """Ask each to end, and end what is left of its group."""
        for process, _ in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process, _ in self._started:
            try:
                process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                print(f"{process.args!r} did not end in {_PATIENCE_SECONDS} s and is killed.", file=sys.stderr)
            end_group(process)
        self._started.clear()

    def __enter__(self) -> Self:
        try:
            for command in self.commands:
                self._start(command)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def with_parent(command: Sequence[str]) -> list[str]:
    """The command line that ends with this process even where this one is killed, where the system can do that."""
    return [*_TIED, *command] if shutil.which(_TIED[0]) else list(command)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever still lives in the group that `process` leads, and reap it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
