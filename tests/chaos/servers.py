"""PostgreSQL, Redis and Restate, each a stack of its own, so that one can be killed, frozen or emptied alone."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tandem.embedded.ports import Ports
from tandem.embedded.stack import Stack
from tests.chaos.waiting import until

__all__ = ["Server", "send"]


def send(pids: list[int], number: int) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@dataclass(kw_only=True)
class Server:
    """One server on data and ports that stay the same through its lives."""

    name: str
    folder: Path
    ports: Ports
    _stack: Stack | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def addresses(self) -> Mapping[str, str]:
        return self._running.addresses

    @property
    def pids(self) -> list[int]:
        """The server's own process, then all its descendants."""
        return self._running.pids(self.name)

    def start(self) -> None:
        """Start on whatever data is there; returns when it answers."""
        stack = Stack(data=self.folder, ports=self.ports, only=[self.name])
        stack.start()
        self._stack = stack
        stack.wait_ready()

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        with self._lock:
            if self._stack is not None:
                send(self._safe_pids(), signal.SIGCONT)
                self._stack.stop()
                self._stack = None

    def kill(self) -> float:
        """Kill it with all its processes, answer when, and return once none is left."""
        pids = self.pids
        at = time.time()
        send(pids, signal.SIGKILL)
        until(lambda: not any(_runs(pid) for pid in pids), f"{self.name} dies of SIGKILL")
        self.stop()
        return at

    def freeze(self) -> float:
        """Stop every process of it where it stands, and answer when."""
        at = time.time()
        # The first is the parent of the others: stopped first, it makes no more of them.
        send(self.pids[:1], signal.SIGSTOP)
        send(self.pids, signal.SIGSTOP)
        return at

    def resume(self) -> float:
        """Let all go on, and answer when."""
        send(list(reversed(self.pids)), signal.SIGCONT)
        return time.time()

    def empty(self, *parts: str) -> None:
        """Delete parts of its data; it must not run."""
        assert self._stack is None, f"{self.name} runs"
        for part in parts:
            shutil.rmtree(self.folder / part)

    @property
    def _running(self) -> Stack:
        assert self._stack is not None, f"{self.name} does not run"
        return self._stack

    def _safe_pids(self) -> list[int]:
        return [] if self._stack is None else self._stack.pids(self.name)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
