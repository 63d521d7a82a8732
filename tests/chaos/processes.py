"""Tandem's own processes: each the leader of a session, ended by its group, restarted as a supervisor would."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from tests.chaos.servers import send
from tests.chaos.waiting import until

__all__ = ["ROOT", "Process"]

ROOT: Final = Path(__file__).resolve().parents[2]

_TIED: Final = ("setpriv", "--pdeathsig", "KILL", "--")
_TERM_SECONDS: Final = 60.0


@dataclass(kw_only=True)
class Process:
    """One process with its children. `deaths` hears of every pid that the harness killed, and when."""

    name: str
    command: Sequence[str]
    environment: Callable[[], Mapping[str, str]]
    folder: Path
    deaths: dict[int, float]
    probe: Callable[[], bool] | None = None
    _running: "subprocess.Popen[bytes] | None" = None
    _lives: int = field(default=0)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self._running is not None, f"{self.name} does not run"
        return self._running.pid

    @property
    def children(self) -> list[int]:
        try:
            return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    @property
    def pids(self) -> list[int]:
        return [self.pid, *self.children]

    @property
    def runs(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def launch(self) -> None:
        """Start it; returns at once."""
        self._lives += 1
        self._ready.unlink(missing_ok=True)
        tie = _TIED if shutil.which(_TIED[0]) else ()
        with self.log.open("ab") as output:
            output.write(f"--- life {self._lives} at {time.time():.3f}\n".encode())
            output.flush()
            self._running = subprocess.Popen(
                [*tie, sys.executable, *self.command],
                env={**os.environ, **self.environment(), "TANDEM_READY_FILE": str(self._ready)},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait until it says that it works; a process that ended meanwhile is an error with its last words."""

        def ready() -> bool:
            assert self.runs, f"{self.name} ended: {self.log.read_text(errors='replace')[-2_000:]}"
            return self.probe() if self.probe else self._ready.exists()

        until(ready, f"{self.name} is ready: {self.log}")

    def kill(self) -> float:
        """Kill it with its whole group, and answer when."""
        pids = self.pids
        at = time.time()
        os.killpg(self.pid, signal.SIGKILL)
        send(pids, signal.SIGKILL)
        self._died(pids, at)
        self.reap()
        return at

    def kill_child(self, pid: int) -> float:
        """Kill one of its children, and answer when."""
        at = time.time()
        os.kill(pid, signal.SIGKILL)
        self._died([pid], at)
        return at

    def freeze(self) -> float:
        """Stop it and its children where they stand, and answer when."""
        at = time.time()
        send(self.pids, signal.SIGSTOP)
        return at

    def resume(self) -> float:
        send(self.pids, signal.SIGCONT)
        return time.time()

    def terminate(self) -> int:
        """Ask it to end, and answer its exit status; `Overdue` where it does not end."""
        self.ask_to_end()
        return self.wait_end()

    def ask_to_end(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def wait_end(self) -> int:
        """Wait until it has ended, and answer its exit status."""
        until(lambda: not self.runs, f"{self.name} ends after SIGTERM", seconds=_TERM_SECONDS)
        self.reap()
        assert self._running is not None
        return self._running.returncode

    def reap(self) -> None:
        """Kill what is left of the group, and take its exit status."""
        if self._running is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()

    def _died(self, pids: Sequence[int], at: float) -> None:
        self.deaths.update(dict.fromkeys(pids, at))

    @property
    def _ready(self) -> Path:
        return self.folder / f"{self.name}.ready"
