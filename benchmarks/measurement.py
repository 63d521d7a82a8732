"""One contender, once: enqueue with its workers stopped, let them drain, then one task at a time while all is idle.

Restate pushes, so nothing can wait for it: there the service runs throughout, and the bulk of sends is followed to its
last body, end to end.
"""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import psycopg

from benchmarks import channel
from benchmarks.catalogue import Contender
from benchmarks.environment import ROOT, Environment
from benchmarks.paired import drain_rate, percentile
from benchmarks.processes import Processes, end_group, python, with_parent

__all__ = ["Counts", "Runner", "Unfinished"]

_WARM_UP: Final = 20
_STALLED_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02


class Unfinished(RuntimeError):
    """A producer ended, or tasks did not run in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many tasks of each kind."""

    single: int
    bulk: int
    idle: int


class Producer:
    """The process that enqueues; see `benchmarks.producer`."""

    def __init__(self, contender: Contender, environment: Environment, logs: Path) -> None:
        self._log = logs / f"{contender.name}-producer.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                with_parent(python("-m", "benchmarks.producer", contender.module)),
                env=environment.variables(),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )

    def call(self, command: str, **values: Any) -> Mapping[str, Any]:
        """Send one command and wait for its answer; raises `Unfinished` where the process ended instead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"command": command, **values}).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            raise Unfinished(f"The producer ended. Its log:\n{self._log.read_text(errors='replace')[-3_000:]}")
        found: Mapping[str, Any] = json.loads(answer)
        return found

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def stop(self) -> None:
        """End it."""
        end_group(self._process)


@dataclass(kw_only=True)
class Runner:
    """Measures one contender, again and again, with one warm producer."""

    contender: Contender
    environment: Environment
    counts: Counts
    folder: Path
    say: Callable[[str], None]
    servers: Callable[[], Mapping[str, int]]
    _producer: Producer | None = None
    _next: int = 0
    _runs: int = 0
    _file: Path = field(default_factory=Path)
    _recorded_before: int | None = None

    def prepare(self) -> None:
        """Start the producer and see that tasks run at all: what is broken shows before anything is measured."""
        self._producer = Producer(self.contender, self.environment, self.folder)
        self._new_file()
        with self._workers() as workers:
            if self.contender.registers:
                self._register(workers)
            self._warm_up(workers)

    def close(self) -> None:
        """End the producer."""
        if self._producer is not None:
            self._producer.stop()

    def run(self) -> dict[str, Any]:
        """One repeat; every task that was enqueued is accounted for in `tasks`."""
        self._settle()
        self._new_file()
        first, self._recorded_before = self._next, self._recorded()
        found = self._pushed() if self.contender.pushes else self._waiting()
        shares = Counter(start.process for start in channel.read(self._file))
        return {
            **found,
            "bodies_of_each_process": sorted(shares.values(), reverse=True),
            "tasks": self._account(range(first, self._next)),
        }

    def _waiting(self) -> dict[str, Any]:
        first = self._next
        self._call("single", _WARM_UP)
        found = {"single": self._single(), "bulk": self._bulk()}
        with self._workers() as workers:
            # Not what starting them costs.
            self._await(_WARM_UP, workers)
            before, done = self._cpu(workers), channel.started(self._file)
            self._await(self._next - first, workers)
            starts = channel.read(self._file)
            found["cpu"] = self._cpu_since(before, workers, self._next - first - done)
            found["drain"] = {
                "count": len(starts),
                "per_second": drain_rate([(start.at, start.process) for start in starts]),
            }
            found["idle"] = self._idle()
            self._await_recorded(self._next - first)
        return found

    def _pushed(self) -> dict[str, Any]:
        with self._workers() as workers:
            self._warm_up(workers)
            found = {"single": self._single()}
            self._await(_WARM_UP + self.counts.single, workers)
            known = channel.started(self._file)
            before = self._cpu(workers)
            found["bulk"] = bulk = self._bulk()
            self._await(known + self.counts.bulk, workers)
            found["cpu"] = self._cpu_since(before, workers, self.counts.bulk)
            last = max(start.at for start in channel.read(self._file, known))
            found["end_to_end"] = _rate(self.counts.bulk, (last - bulk["began"]) / 1e9)
            found["idle"] = self._idle()
            self._await_recorded(_WARM_UP + self.counts.single + self.counts.bulk + self.counts.idle)
        return found

    def _new_file(self) -> None:
        self._runs += 1
        self._file = self.folder / f"{self.contender.name}-{self._runs}.starts"
        self._file.touch()

    def _settle(self) -> None:
        """Leave no vacuum and no checkpoint of the one before to be done in this one's time."""
        with psycopg.connect(**self.environment.connection(), autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")

    def _workers(self) -> Processes:
        environment = replace(self.environment, channel=str(self._file))
        return Processes(environment=environment, logs=self.folder, commands=self.contender.workers(environment))

    def _call(self, command: str, count: int, **values: Any) -> Mapping[str, Any]:
        assert self._producer is not None
        first, self._next = self._next, self._next + count
        return self._producer.call(command, first=first, count=count, **values)

    def _warm_up(self, workers: Processes) -> None:
        self._call("single", _WARM_UP)
        self._await(_WARM_UP, workers)

    def _single(self) -> dict[str, Any]:
        return _rate(self.counts.single, self._call("single", self.counts.single)["seconds"])

    def _bulk(self) -> dict[str, Any]:
        answer = self._call("bulk", self.counts.bulk)
        return {**_rate(self.counts.bulk, answer["seconds"]), "began": answer["began"]}

    def _idle(self) -> dict[str, Any]:
        known, first, count = channel.started(self._file), self._next, self.counts.idle
        before = self._call("idle", count, file=str(self._file))["before"]
        # It stops at the first task that does not start: the account then shows the loss.
        self._next = first + len(before)
        at = {start.number: start.at for start in channel.read(self._file, known)}
        waits = [(at[first + number] - began) / 1e6 for number, began in enumerate(before) if first + number in at]
        if not waits:
            raise Unfinished(f"{self.contender.title}: the first of {count} tasks while idle did not start.")
        return {
            "count": len(before),
            "p50": percentile(waits, 0.5),
            "p99": percentile(waits, 0.99),
            "maximum": max(waits),
        }

    def _cpu(self, workers: Processes) -> dict[str, float]:
        """Seconds of the processor that each process and server has had, its children's too."""
        assert self._producer is not None
        pids = {**workers.pids(), "producer": self._producer.pid, **self.servers()}
        return {name: _seconds(pid) for name, pid in pids.items()}

    def _cpu_since(self, before: Mapping[str, float], workers: Processes, tasks: int) -> dict[str, float]:
        """Milliseconds of the processor for each of so many tasks, by process, and of all."""
        now = self._cpu(workers)
        found = {name: (now[name] - before[name]) * 1e3 / max(tasks, 1) for name in before}
        return {**found, "all": sum(found.values())}

    def _register(self, workers: Processes) -> None:
        """Tell Restate of a service that does not do so itself."""
        deadline = time.monotonic() + _STALLED_SECONDS
        body = {"uri": self.environment.service_url, "force": True}
        while True:
            workers.check()
            answer = httpx.post(f"{self.environment.admin_url}/deployments", json=body, timeout=_STALLED_SECONDS)
            if answer.is_success:
                return
            if time.monotonic() > deadline:
                raise Unfinished(f"Restate did not register {body['uri']}: {answer.text}")
            time.sleep(_POLL_SECONDS)

    def _await(self, expected: int, workers: Processes | None = None) -> None:
        """Wait until so many bodies have started, or none has for a while: then the account shows what is lost."""
        seen, since = -1, time.monotonic()
        while (now := channel.started(self._file)) < expected:
            if workers is not None:
                workers.check()
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > _STALLED_SECONDS:
                self.say(f"{self.contender.name}: {now} of {expected} tasks ran, then none for {_STALLED_SECONDS:g} s")
                return
            time.sleep(_POLL_SECONDS)

    def _recorded(self) -> int | None:
        """How many successes the contender has stored so far; None where it stores none that can be counted."""
        if self.contender.recorded is None:
            return None
        with psycopg.connect(**self.environment.connection()) as connection:
            row = connection.execute(self.contender.recorded.encode()).fetchone()
        return int(row[0]) if row else 0

    def _await_recorded(self, expected: int) -> None:
        """Let the last bodies' records be written before the workers are stopped."""
        deadline = time.monotonic() + _STALLED_SECONDS
        before = self._recorded_before
        while before is not None and (self._recorded() or 0) - before < expected and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def _account(self, indexes: range) -> dict[str, int | None]:
        """Count what ran, what ran twice and what was recorded."""
        runs = Counter(start.number for start in channel.read(self._file))
        recorded = self._recorded()
        return {
            "enqueued": len(indexes),
            "lost": sum(index not in runs for index in indexes),
            "ran_again": sum(runs[index] - 1 for index in indexes if index in runs),
            "recorded": None if recorded is None else recorded - (self._recorded_before or 0),
        }


def _seconds(pid: int) -> float:
    """What a process has had with its children, those that ended too."""
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:4])
    return total


def _rate(count: int, seconds: float) -> dict[str, Any]:
    return {"count": count, "seconds": seconds, "per_second": count / seconds}
