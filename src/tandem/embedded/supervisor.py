"""Runs programs together: in the order of their needs, in one folder, until they are stopped; leaves none behind."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, TextIO

import psutil

from tandem.embedded import guard
from tandem.embedded.exceptions import StackError
from tandem.embedded.log import Console, Log
from tandem.embedded.processes import Backoff, Process, Program

__all__ = ["OWN_NAME", "READY_SECONDS", "Supervisor"]

STOPPED: Final = "The stack was stopped while it was starting."
OWN_NAME: Final = "tandem"
"""The name under which the supervisor writes its own lines."""

READY_SECONDS: Final = 300.0
LOCK_SECONDS: Final = 20.0
LOCK_POLL_SECONDS: Final = 0.1
GUARD_GRACE_SECONDS: Final = 5.0
GUARD_END_SECONDS: Final = 10.0


class Supervisor:
    """Programs that run together; `data` takes their logs and a lock, so that two supervisors never share it.

    `acquire`, `launch`, `wait_ready`, `stop`; once. Each program is the leader of a process group, and what it leaves
    behind is killed when it ends. When the supervisor itself is killed, the kernel asks the programs to end (on
    Linux), and a guard process kills, 5 s later, whatever still runs; until then the lock is held.
    """

    def __init__(self, *, data: Path, console: TextIO | None = None, backoff: Backoff | None = None) -> None:
        self.data = data.resolve()
        self._console = Console(console)
        self._backoff = backoff or Backoff()
        self._mark = uuid.uuid4().hex
        self._changes = threading.Condition()
        self._stopping = False
        self._stop_lock = threading.Lock()
        self._lock: IO[str] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._log: Log | None = None
        self._processes: dict[str, Process] = {}

    def acquire(self) -> None:
        """Make the folder and take its lock; raises `StackError` when that fails or another supervisor holds it."""
        try:
            (self.data / "logs").mkdir(parents=True, exist_ok=True)
            lock = (self.data / "lock").open("a+")
        except OSError as error:
            raise StackError(
                f"The data folder cannot be used: {error}. Choose another with --data or TANDEM_DATA."
            ) from error
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().strip()
                # A holder that was killed leaves the lock to its guard, which lets go within seconds.
                if (holder.isdigit() and _lives(int(holder))) or time.monotonic() > deadline:
                    lock.close()
                    raise StackError(
                        f"Another supervisor (process {holder or 'unknown'}) runs on {self.data}. Stop it, "
                        "or choose another folder with --data or TANDEM_DATA, and other ports."
                    ) from None
            if self._stopping:
                lock.close()
                raise StackError(STOPPED)
            time.sleep(LOCK_POLL_SECONDS)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock
        self._log = self._open_log(OWN_NAME)

    def launch(self, programs: Sequence[Program]) -> None:
        """Start every program as soon as what it needs is ready; returns at once. Needs the lock."""
        with self._stop_lock:
            if self._stopping:
                raise StackError(STOPPED)
            self._guard = self._start_guard()
            self._console.names([OWN_NAME, *(program.name for program in programs)])
            self._processes = {program.name: self._process(program) for program in programs}
            for process in self._processes.values():
                needs = [self._processes[name] for name in sorted(process.program.after & self._processes.keys())]
                process.start(needs)

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait until all programs are ready; raises `StackError` that says which is not, why, and its last lines."""
        with self._changes:
            self._changes.wait_for(self._is_settled, timeout)
        if self._stopping:
            raise StackError(STOPPED)
        failed = [process for process in self._processes.values() if process.failure]
        unready = failed or [process for process in self._processes.values() if not process.ready.is_set()]
        if unready:
            raise StackError("\n".join(process.why_not_ready() for process in unready))

    def stop(self) -> None:
        """Stop what depends on others first, each with its grace time; returns when no process is left."""
        with self._changes:
            self._stopping = True
            self._changes.notify_all()
        with self._stop_lock:
            if self._guard is not None:
                for stage in reversed(self._stages()):
                    for process in stage:
                        process.request_stop()
                    for process in stage:
                        process.join()
                self._dismiss_guard()
            if self._lock is not None:
                self._lock.close()
                self._lock = None
            if self._log is not None:
                self._log.close()

    def hurry(self) -> None:
        """Kill what still runs, now; `stop` then returns soon."""
        for process in self._processes.values():
            process.kill()

    def say(self, line: str) -> None:
        """Write a line to the console and to `logs/tandem.log`; not before `acquire`."""
        assert self._log is not None  # noqa: S101 - as documented
        self._log.write(line)

    def pids(self, name: str) -> list[int]:
        """Answer the processes of a program, its own first, then their descendants; empty while it does not run."""
        pid = self._named(name).pid
        if pid is None:
            return []
        try:
            return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the own process of a program, which is started again when it ends of it."""
        self._named(name).signal(number)

    def restarts(self, name: str) -> int:
        """Answer how often a program was started again."""
        return self._named(name).restarts

    def is_ready(self, name: str) -> bool:
        """Answer whether a program has answered its probe since it was last started."""
        return self._named(name).ready.is_set()

    def rss(self) -> Mapping[str, int]:
        """Answer the resident memory in bytes by program, this process and the guard as `tandem`.

        Plain sums of RSS: memory that processes share is counted in each.
        """
        own = [os.getpid(), *([self._guard.pid] if self._guard else [])]
        return {OWN_NAME: _rss(own)} | {name: _rss(self.pids(name)) for name in self._processes}

    def _named(self, name: str) -> Process:
        if name not in self._processes:
            raise StackError(
                f"{name!r} is no part of this stack, which has: {', '.join(self._processes) or 'none yet'}."
            )
        return self._processes[name]

    def _open_log(self, name: str) -> Log:
        return Log(name, folder=self.data / "logs", console=self._console)

    def _process(self, program: Program) -> Process:
        log = self._open_log(program.name)
        return Process(program, log=log, mark=self._mark, backoff=self._backoff, changed=self._changed)

    def _is_settled(self) -> bool:
        processes = self._processes.values()
        return (
            self._stopping or any(item.failure for item in processes) or all(item.ready.is_set() for item in processes)
        )

    def _changed(self) -> None:
        with self._changes:
            if self._guard is not None:
                try:
                    self._tell(self._guard)
                except BrokenPipeError:
                    self.say(f"the guard (process {self._guard.pid}) is gone: starting another")
                    self._guard.communicate()
                    self._guard = self._start_guard()
                    self._tell(self._guard)
            self._changes.notify_all()

    def _start_guard(self) -> subprocess.Popen[bytes]:
        assert self._lock is not None  # noqa: S101 - `acquire` comes first
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", guard.__file__, self._mark, str(GUARD_GRACE_SECONDS)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[self._lock.fileno()],
            start_new_session=True,
        )

    def _tell(self, guard_process: subprocess.Popen[bytes]) -> None:
        groups = [str(pid) for process in self._processes.values() if (pid := process.pid)]
        assert guard_process.stdin is not None  # noqa: S101 - a pipe was asked for
        guard_process.stdin.write(f"{' '.join(groups)}\n".encode())

    def _dismiss_guard(self) -> None:
        """Let the guard have its last look, which ends what left its group, and wait for it."""
        self._changed()
        with self._changes:
            last, self._guard = self._guard, None
        assert last is not None  # noqa: S101 - `launch` made it
        try:
            last.communicate(timeout=GUARD_END_SECONDS)
        except subprocess.TimeoutExpired:
            last.kill()
            last.communicate()

    def _stages(self) -> list[list[Process]]:
        """Group the programs by how many others must be ready before them."""
        depths: dict[str, int] = {}

        def depth(name: str) -> int:
            if name not in depths:
                needs = self._processes[name].program.after & self._processes.keys()
                depths[name] = max((depth(need) + 1 for need in needs), default=0)
            return depths[name]

        stages: list[list[Process]] = [[] for _ in range(max(map(depth, self._processes), default=0) + 1)]
        for name, process in self._processes.items():
            stages[depth(name)].append(process)
        return stages


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _rss(pids: Sequence[int]) -> int:
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
