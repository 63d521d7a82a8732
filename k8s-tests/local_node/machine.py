"""A node's own view of this machine: its processes, mounts and network, all of which end with its first process."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psutil

from local_node.errors import NodeError
from local_node.packages import ENVIRONMENT
from local_node.waiting import until

__all__ = ["Machine", "end", "marked"]

# Every process of a cluster carries its folder in its environment, so that a later run finds what a crash has left.
MARKER: Final = "TANDEM_LOCAL_NODE"
START_SECONDS: Final = 20
END_SECONDS: Final = 30
RUN_SECONDS: Final = 300
TAIL_LINES: Final = 15

# What kubelet wants the kernel to be set to. It finds it so, and leaves the machine's own settings alone.
WANTED: Final = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
# Private folders in place of those that containerd, kubelet and the network plugins would share with the machine.
SETUP: Final = """
mount -t proc proc /proc
mount --make-rshared /
mount -t tmpfs tmpfs /run
mount --bind "$1/lib" /var/lib
mount --bind "$1/log" /var/log
for setting in $2; do
    mount --bind "$1/settings/$setting" "/proc/sys/$setting"
done
ip link set lo up
echo ready
shift 2
exec "$@"
"""
# The first process inherits orphans: it must not leave them as zombies.
FIRST: Final = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True: signal.pause()"


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A node's namespaces. `folder` holds its files; it must not lie where the node sees its own folders instead."""

    folder: Path
    index: int

    @property
    def name(self) -> str:
        """The node's name, unique within its cluster only."""
        return f"node-{self.index}"

    @property
    def pid(self) -> int:
        """The first process, as this machine counts.

        Raises:
            NodeError: it does not run.

        """
        pid = int((self.folder / "pid").read_text())
        if not _has_mark(pid, self.folder.parent):
            raise NodeError(f"{self.name} does not run any more: take the cluster down and up again.")
        return pid

    def start(self) -> None:
        """Make the namespaces.

        Raises:
            NodeError: this machine does not allow it; with what it said.

        """
        for name in ("lib", "log", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for setting, value in WANTED.items():
            path = self.folder / "settings" / setting
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{value}\n")
        first = [sys.executable, "-I", "-S", "-c", FIRST]
        namespaces = ["unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child"]
        command = [*namespaces, "sh", "-ec", SETUP, "sh", str(self.folder), " ".join(WANTED), *first]
        with self._log("machine") as log:
            outer = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )

        def probe() -> str | None:
            if outer.poll() is not None:
                raise NodeError(f"{self.name}: no namespaces of its own: {self.tail('machine')}")
            return None if "ready" in self.log_path("machine").read_text().split() else "it is still being set up"

        until(probe, what=f"namespaces of {self.name}", seconds=START_SECONDS)
        [inner] = psutil.Process(outer.pid).children()
        (self.folder / "pid").write_text(str(inner.pid))

    def run(self, *command: str | Path, stdin: int | IO[bytes] | None = None) -> str:
        """Run a command inside to its end, and answer what it printed.

        Raises:
            NodeError: it failed; with its own words.

        """
        done = subprocess.run(
            self._inside(command),
            check=False,
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            env=self._environment(),
            cwd="/",
            timeout=RUN_SECONDS,
        )
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip()
            raise NodeError(f"{self.name}: {' '.join(map(str, command))}: {words}")
        return done.stdout.decode()

    def stream(
        self, *command: str | Path, stdout: int, stdin: int | IO[bytes] = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a command inside whose output the caller handles."""
        return subprocess.Popen(
            self._inside(command), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=self._environment(), cwd="/"
        )

    def spawn(self, name: str, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        """Start a program inside that stays; what it prints goes to `log_path(name)`."""
        with self._log(name) as log:
            return subprocess.Popen(
                self._inside(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
                cwd="/",
            )

    def log_path(self, name: str) -> Path:
        """What a program of this node printed."""
        return self.folder / "logs" / f"{name}.log"

    def tail(self, name: str) -> str:
        """The end of it."""
        lines = self.log_path(name).read_text(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])

    def _inside(self, command: Sequence[str | Path]) -> list[str]:
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--ipc", "--"]
        return [*inside, *map(str, command)]

    def _log(self, name: str) -> IO[bytes]:
        return self.log_path(name).open("ab")

    def _environment(self) -> dict[str, str]:
        return {**ENVIRONMENT, MARKER: str(self.folder.parent)}


def marked(folder: Path) -> Iterator[psutil.Process]:
    """The processes of the cluster in `folder`, but for those in its containers."""
    for process in psutil.process_iter():
        if process.pid != os.getpid() and _has_mark(process.pid, folder):
            yield process


def end(folder: Path) -> None:
    """Kill the first processes of all nodes of the cluster in `folder`; with them the kernel ends all they hold.

    Raises:
        NodeError: something still runs.

    """

    def probe() -> str | None:
        running = list(marked(folder))
        for process in running:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return f"{', '.join(map(str, running))} still run" if running else None

    until(probe, what="ending the nodes' processes", seconds=END_SECONDS)


def _has_mark(pid: int, folder: Path) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return re.search(rf"(?:^|\0){MARKER}={re.escape(str(folder))}(?:\0|$)".encode(), environment) is not None
