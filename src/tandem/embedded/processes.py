"""One program kept running: started when what it needs is ready, probed, logged, restarted, stopped."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tandem.embedded import guard
from tandem.embedded.exceptions import StackError
from tandem.embedded.log import Log

__all__ = ["Backoff", "Process", "Program"]

PROBE_SECONDS: Final = 0.05
KILL_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What to run, and how to tell that it works.

    `probe` answers why the program is not ready yet, or `None`; it runs again and again, so it has timeouts of its
    own. `after` names what must be ready first. `prepare` runs once before the first start. `once` marks a program
    that is ready by ending well. `privileges` are options of `setpriv`. Times are seconds: `patience` until the first
    readiness, `grace` between `stop_signal` and SIGKILL.
    """

    name: str
    command: Sequence[str]
    environment: Callable[[], Mapping[str, str]] = dict
    directory: Path | None = None
    probe: Callable[[], str | None] = lambda: None
    after: frozenset[str] = frozenset()
    prepare: Callable[[], None] = lambda: None
    on_line: Callable[[str], None] = lambda _line: None
    once: bool = False
    privileges: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    patience: float = 120.0
    grace: float = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Seconds before a restart: `first`, doubled each time up to `limit`, `first` again after `healthy` seconds."""

    first: float = 1.0
    limit: float = 30.0
    healthy: float = 60.0


class Process:
    """A program's thread and, while it runs, its process: leader of a session, and so of a group, of its own.

    The thread that starts the process waits for it too: on Linux the kernel tells a child of its parent's death when
    the *thread* ends that made it.
    """

    def __init__(self, program: Program, *, log: Log, mark: str, backoff: Backoff, changed: Callable[[], None]) -> None:
        self.program = program
        self.log = log
        self.ready = threading.Event()
        self.failure: str | None = None
        self.restarts = 0
        self._mark = f"{mark}/{program.name}"
        self._backoff = backoff
        self._changed = changed
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._unready = "it is still starting"
        self._was_ready = False
        self._needs: Sequence[Process] = ()
        self._thread = threading.Thread(target=self._run, name=f"tandem-{program.name}", daemon=True)

    @property
    def pid(self) -> int | None:
        """The process, or `None` while there is none."""
        with self._lock:
            return self._running.pid if self._running else None

    def start(self, needs: Sequence["Process"]) -> None:
        """Start once all of `needs` are ready; returns at once."""
        self._needs = needs
        self._thread.start()

    def signal(self, number: int) -> None:
        """Send a signal to the process, if there is one."""
        with self._lock:
            if self._running:
                os.kill(self._running.pid, number)

    def request_stop(self) -> None:
        """Ask the program to end and start it no more; returns at once."""
        first = not self._stopping.is_set()
        self._stopping.set()
        self._changed()
        if first:
            self.signal(self.program.stop_signal)

    def kill(self) -> None:
        """End the process and its group now, and start it no more."""
        self._stopping.set()
        with self._lock:
            if self._running:
                os.killpg(self._running.pid, signal.SIGKILL)

    def join(self) -> None:
        """Wait until the program has ended, killing it when `grace` is over; needs `request_stop` first."""
        self._wait(self.program.grace)
        if self._thread.is_alive():
            self.log.write(f"did not end within {self.program.grace:g} s: killed")
            self.kill()
            self._wait(KILL_SECONDS)
        self.log.close()

    def why_not_ready(self) -> str:
        """Say what is missing, with the last lines of the log."""
        return f"{self.program.name} is not ready: {self.failure or self._unready}.\n{self.log.tail()}"

    def _wait(self, seconds: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            for need in self._needs:
                self._unready = f"it waits for {need.program.name}"
                while not need.ready.wait(PROBE_SECONDS):
                    if self._stopping.is_set():
                        return
            self._unready = "it is still starting"
            self.program.prepare()
            self._keep()
        except (StackError, OSError) as error:
            self._fail(str(error))
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}")
            raise

    def _keep(self) -> None:
        delay = self._backoff.first
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                status = self._once()
                ending = _ending(status)
            except StackError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it was, what ran before is started again
                status, ending = 1, f"could not be started ({type(error).__name__}: {error})"
            lasted = time.monotonic() - started
            if self._stopping.is_set() or (self.program.once and status == 0):
                return
            if not self._was_ready:
                self._fail(f"it {ending} after {lasted:.1f} s")
                return
            if lasted >= self._backoff.healthy:
                delay = self._backoff.first
            self.log.write(f"{ending} after {lasted:.1f} s: starting again in {delay:g} s")
            if self._stopping.wait(delay):
                return
            delay = min(delay * 2, self._backoff.limit)
            self.restarts += 1

    def _once(self) -> int:
        """Start the program, follow it to its end and to the end of all it left; answer its exit status."""
        running = self._spawn()
        if running is None:
            return 0
        reader = threading.Thread(target=self._read, args=(running,), daemon=True)
        reader.start()
        self._changed()
        self._await_ready(running.pid)
        # Waiting without reaping keeps the number from being given to another process before the group is ended.
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        self.ready.clear()
        with self._lock:
            self._running = None
            guard.end([running.pid], self._mark)
            status = running.wait()
        reader.join(KILL_SECONDS)
        if self.program.once and status == 0:
            self._set_ready()
        self._changed()
        return status

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        environment = {**os.environ, **self.program.environment(), guard.MARKER: self._mark}
        with self._lock:
            if self._stopping.is_set():
                return None
            self._running = subprocess.Popen(  # noqa: S603 - commands are the stack's own
                [*_wrapper(self.program), *self.program.command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self.program.directory,
                env=environment,
                start_new_session=True,
            )
            return self._running

    def _read(self, running: subprocess.Popen[bytes]) -> None:
        assert running.stdout is not None  # noqa: S101 - a pipe was asked for
        with running.stdout as stream:
            for line in self.log.lines(stream):
                try:
                    self.program.on_line(line)
                except Exception as error:  # noqa: BLE001 - a program whose lines nobody reads stops at a full pipe
                    self.log.write(f"a line was not understood ({type(error).__name__}: {error})")

    def _await_ready(self, pid: int) -> None:
        """Probe until ready, ended or stopping; past `patience` say so, and at the first start give up."""
        deadline = time.monotonic() + self.program.patience
        late = False
        while not self._stopping.wait(PROBE_SECONDS) and not _ended(pid):
            if not self.program.once:
                reason = self._probe()
                if reason is None:
                    self._set_ready()
                    return
                self._unready = reason
            if not late and time.monotonic() > deadline:
                late = True
                self._fail(f"after {self.program.patience:g} s: {self._unready}", for_good=not self._was_ready)

    def _probe(self) -> str | None:
        try:
            return self.program.probe()
        except Exception as error:  # noqa: BLE001 - the program runs, and somebody must wait for its end
            return f"asking it failed ({type(error).__name__}: {error})"

    def _set_ready(self) -> None:
        self._was_ready = True
        self.ready.set()
        self._changed()

    def _fail(self, reason: str, *, for_good: bool = True) -> None:
        self.log.write(f"not ready: {reason}")
        if for_good:
            self.failure = reason
            self._changed()


def _ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return True


def _ending(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    name = next((number.name for number in signal.Signals if number == -status), f"signal {-status}")
    return f"was ended by {name}"


@cache
def _setpriv() -> str | None:
    """Answer util-linux's `setpriv` where it can ask the kernel for a signal at the parent's death."""
    path = shutil.which("setpriv") if sys.platform == "linux" else None
    if path is None:
        return None
    shown = subprocess.run([path, "--help"], capture_output=True, text=True, check=False)  # noqa: S603 - util-linux's own
    return path if "--pdeathsig" in shown.stdout else None


def _wrapper(program: Program) -> list[str]:
    path = _setpriv()
    if path is None:
        if program.privileges:
            raise StackError(f"{program.name} needs util-linux's setpriv (2.33 or newer) to give up root's rights.")
        # The guard alone then ends what a killed supervisor leaves.
        return []
    death = program.stop_signal.name.removeprefix("SIG")
    return [path, f"--pdeathsig={death}", *program.privileges, "--"]
