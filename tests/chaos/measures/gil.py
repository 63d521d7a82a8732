"""A body that holds the GIL for four leases: in prefork, in threads, and on Restate."""

import json
import os
import socket
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from tandem.declarations import TaskResult
from tandem.ledger.models import Event, Execution
from tests.chaos.log import Line
from tests.chaos.proxies import Proxy
from tests.chaos.system import System
from tests.chaos.tasks import hold, long, plain
from tests.chaos.waiting import until

__all__ = ["measure"]

_SECONDS: Final = 60
_NEIGHBOURS: Final = 4
_STEPS: Final = 100
_LATER: Final = 20
_PATIENCE_SECONDS: Final = 600.0

_SETUPS: Final[Mapping[str, tuple[str, Mapping[str, Sequence[str]]]]] = {
    "Celery, prefork, 2 workers of 4": (
        "celery",
        dict.fromkeys(("worker-1", "worker-2"), ("worker", "--concurrency", "4")),
    ),
    "Celery, threads, 2 workers of 4": (
        "celery",
        dict.fromkeys(("worker-1", "worker-2"), ("worker", "--pool", "threads", "--concurrency", "4")),
    ),
    "Restate, 1 service of 8": ("restate", {"service": ("service", "--register", "--concurrency", "8")}),
    "Restate, 2 services of 8 behind one address": (
        "restate",
        {f"service-{number}": ("service", "--concurrency", "8") for number in (1, 2)},
    ),
}


def measure(system: System, say: Callable[[str], None]) -> None:
    """Print for each what became of the body, of those that ran beside it, and of those that came later."""
    say(
        f"A body holds the GIL for {_SECONDS} s. Beside it run {_NEIGHBOURS} of {_STEPS} steps of 0.1 s that began before,"
        f" and {_LATER} plain ones that were enqueued when it began."
    )
    for owner, (engine, commands) in _SETUPS.items():
        with ExitStack() as stack:
            stack.callback(system.stop)
            if len(commands) > 1 and engine == "restate":
                _launch_behind_one_address(system, commands, stack)
            else:
                system.launch(commands)
            system.launch({"relay": ("relay",)})
            _measure(system, owner, engine, say)


def _launch_behind_one_address(system: System, commands: Mapping[str, Sequence[str]], stack: ExitStack) -> None:
    ports = {name: _free_port() for name in commands}
    proxy = stack.enter_context(Proxy(*ports.values()))
    for name, command in commands.items():
        system.launch({name: (*command, "--bind", f"127.0.0.1:{ports[name]}")})
    address = f"http://127.0.0.1:{proxy.port}"
    request = urllib.request.Request(
        f"{os.environ['TANDEM_RESTATE_ADMIN_URL']}/deployments",
        data=json.dumps({"uri": address}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _measure(system: System, owner: str, engine: str, say: Callable[[str], None]) -> None:
    system.mark()
    neighbours = [long.using(engine=engine, owner=owner).enqueue(_STEPS) for _ in range(_NEIGHBOURS)]
    until(lambda: len(_Bodies(system.lines()).processes) == _NEIGHBOURS, "the neighbours run")
    holder = hold.using(engine=engine, owner=owner).enqueue(_SECONDS)
    at = until(lambda: _Bodies(system.lines()).starts.get(holder.id), "the GIL is held")[0]
    later = [plain.using(engine=engine, owner=owner).enqueue(number) for number in range(_LATER)]
    unfinished = Execution.objects.filter(owner=owner, outcome__isnull=True)
    until(lambda: not unfinished.exists(), "all are over", seconds=_PATIENCE_SECONDS)
    bodies = _Bodies(system.lines())
    say(f"\n{owner}")
    say(f"  the body:         {_told(bodies, [holder], at)}")
    beside = [item for item in neighbours if bodies.processes[item.id][0] == bodies.processes[holder.id][0]]
    apart = [item for item in neighbours if item not in beside]
    for title, these in (("same process:", beside), ("other processes:", apart), ("enqueued later:", later)):
        say(f"  {title:<18}{_told(bodies, these, at)}")


@dataclass(slots=True)
class _Bodies:
    """When the bodies of each execution began, and in which process."""

    lines: Sequence[Line]

    @property
    def starts(self) -> dict[str, list[float]]:
        starts: dict[str, list[float]] = {}
        for line in self.lines:
            if line.event == "body-start":
                starts.setdefault(line.execution, []).append(line.at)
        return starts

    @property
    def processes(self) -> dict[str, list[int]]:
        processes: dict[str, list[int]] = {}
        for line in self.lines:
            if line.event == "body-start":
                processes.setdefault(line.execution, []).append(line.pid)
        return processes


def _told(bodies: _Bodies, results: Sequence[TaskResult], at: float) -> str:
    if not results:
        return "none"
    rows = Execution.objects.filter(pk__in=[result.id for result in results])
    phases = Counter(row.phase for row in rows)
    events = Counter(Event.objects.filter(execution__in=rows).values_list("kind", flat=True))
    ended = sorted(row.finished_at.timestamp() - at for row in rows if row.finished_at is not None)
    began = sorted(len(bodies.starts.get(result.id, ())) for result in results)
    parts = [
        ", ".join(f"{count} {phase}" for phase, count in phases.items()),
        f"bodies began {began[0]}" + (f" to {began[-1]}" if began[-1] != began[0] else "") + " time(s) each",
        f"{sum(row.lost_leases for row in rows)} lease(s) lost",
        f"ended after {ended[0]:.1f}" + (f" to {ended[-1]:.1f}" if len(ended) > 1 else "") + " s",
        ", ".join(f"{count} x {kind}" for kind, count in events.items()) or "no events",
    ]
    if len(results) == 1:
        parts.append("began after " + ", ".join(f"{start - at:.1f}" for start in bodies.starts[results[0].id]) + " s")
    return "; ".join(parts)
