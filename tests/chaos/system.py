"""The system under test: three servers, two workers, a service and a relay."""

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from tandem.embedded.ports import Ports
from tests.chaos import log
from tests.chaos.processes import ROOT, Process
from tests.chaos.servers import Server

__all__ = ["COMMANDS", "WORKERS", "System", "running_system"]

WORKERS: Final = ("worker-1", "worker-2")

_CHILDREN: Final = 2
_SLOTS: Final = 6
_GRACE_SECONDS: Final = 10
_QUERY_SECONDS: Final = 10.0

COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "worker-1": ("worker", "--concurrency", str(_CHILDREN)),
    "worker-2": ("worker", "--concurrency", str(_CHILDREN)),
    "service": ("service", "--register", "--concurrency", str(_SLOTS), "--grace", str(_GRACE_SECONDS)),
    "relay": ("relay",),
}


@dataclass(kw_only=True)
class System:
    """Everything a fault may reach for. `overrides` changes the environment of processes that are started next."""

    folder: Path
    lease: float
    servers: Mapping[str, Server]
    deaths: dict[int, float] = field(default_factory=dict)
    overrides: dict[str, str] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    offset: int = 0

    @property
    def effects(self) -> Path:
        return self.folder / "effects"

    def environment(self) -> dict[str, str]:
        """What the processes are told; routing rules of the caller's shell stay out of it."""
        addresses: dict[str, str] = {}
        for server in self.servers.values():
            addresses |= server.addresses
        return {
            "TANDEM_ROUTES": "",
            **addresses,
            "TANDEM_CHAOS_LEASE": str(self.lease),
            log.VARIABLE: str(self.effects),
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
            "PYTHONUNBUFFERED": "1",
            **self.overrides,
        }

    def launch(self, commands: Mapping[str, Sequence[str]] = COMMANDS) -> None:
        """Start Tandem's processes, by name, with their commands' arguments; returns when all are ready."""
        environment = self.environment()
        for name, arguments in commands.items():
            self.processes[name] = Process(
                name=name,
                command=("-m", "django", "tandem", *arguments),
                # A server that is down now has told its addresses before.
                environment=lambda: environment | self.overrides,
                folder=self.folder,
                deaths=self.deaths,
            )
        self.restart(*commands)

    def restart(self, *names: str) -> None:
        """Start processes that do not run, side by side, and wait until all are ready."""
        for name in names:
            self.processes[name].launch()
        for name in names:
            self.processes[name].wait_ready()

    def replace(self, *names: str) -> None:
        """End processes side by side, as a deploy does, and start them anew."""
        for name in names:
            self.processes[name].ask_to_end()
        for name in names:
            self.processes[name].wait_end()
        self.restart(*names)

    def lines(self) -> list[log.Line]:
        """The side effects since `mark`."""
        return log.read(self.effects, offset=self.offset)

    def mark(self) -> None:
        """Leave what was logged so far to earlier faults."""
        self.offset = self.effects.stat().st_size if self.effects.exists() else 0

    def busy(self, pids: Collection[int], *, seconds: float = 0.0) -> int | None:
        """One of `pids` that is in the middle of a step which began at least `seconds` ago; None where none is."""
        began: dict[tuple[int, str, int, str], float] = {}
        for line in self.lines():
            key = (line.pid, line.execution, line.fence, line.name)
            if line.event == "step-start":
                began[key] = line.at
            elif line.event == "step-end":
                began.pop(key, None)
        now = time.time()
        return next((key[0] for key, at in began.items() if key[0] in pids and now - at >= seconds), None)

    def left_bodies(self, pids: Collection[int]) -> bool:
        """Whether some of `pids` began bodies that have not come to their end."""
        open_bodies: set[tuple[int, str, int]] = set()
        for line in self.lines():
            key = (line.pid, line.execution, line.fence)
            if line.event == "body-start" and line.pid in pids:
                open_bodies.add(key)
            elif line.event == "body-end":
                open_bodies.discard(key)
        return bool(open_bodies)

    def invocations(self) -> int:
        """How many invocations Restate still has to end: one whose execution is over may be tried for ever."""
        address = self.environment()["TANDEM_RESTATE_ADMIN_URL"]
        query = {"query": "SELECT count(*) AS number FROM sys_invocation WHERE status <> 'completed'"}
        headers = {"accept": "application/json"}
        answer = httpx.post(f"{address}/query", json=query, headers=headers, timeout=_QUERY_SECONDS, trust_env=False)
        return int(answer.raise_for_status().json()["rows"][0]["number"])

    def check(self) -> None:
        """Raise where a process has ended that should run."""
        for process in self.processes.values():
            process.wait_ready()

    def stop(self) -> None:
        """Kill Tandem's processes; the servers are stopped by who started them."""
        for process in self.processes.values():
            process.reap()
        self.processes.clear()


@contextmanager
def running_system(folder: Path, *, lease: float) -> Iterator[System]:
    """Start servers; nothing of them is left when the block is left."""
    ports = Ports.free()
    with ExitStack() as stack:
        servers = {}
        for name in ("postgres", "redis", "restate"):
            servers[name] = Server(name=name, folder=folder / name, ports=ports)
            stack.callback(servers[name].stop)
            servers[name].start()
        system = System(folder=folder, lease=lease, servers=servers)
        stack.callback(system.stop)
        yield system
