"""One contender, once: enqueue with its workers stopped, let them drain, then one task at a time while all is idle.

Restate pushes, so nothing can wait for it: there the service runs throughout, and the bulk of sends is followed to its
last body, end to end; DBOS is measured so too. Stepped tasks and workflows are followed end to end on all that have them.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import httpx
import psycopg

from benchmarks import channel
from benchmarks.contender import Contender
from benchmarks.environment import Environment
from benchmarks.paired import drain_rate, percentile
from benchmarks.processes import Processes
from benchmarks.producing import Producer, Unfinished
from benchmarks.usage import Usage, resident

__all__ = ["Counts", "Runner"]

_WARM_UP: Final = 20
_FIRST: Final = 5
_LOOKS: Final = 20
_STALLED_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many tasks of each kind."""

    single: int
    bulk: int
    idle: int
    stepped: int
    workflow: int

    def of(self, contender: Contender) -> Self:
        """What this contender is given: its share of the no-ops, and as many as all of what is durable."""
        given = {name: max(1, int(getattr(self, name) * contender.share)) for name in ("single", "bulk")}
        idle = min(self.idle, _LOOKS) if contender.looks else self.idle
        return replace(self, **given, idle=idle)


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
    _first: int = 0
    _next: int = 0
    _runs: int = 0
    _file: Path = field(default_factory=Path)
    _recorded_before: int | None = None
    _registered: bool = False

    def prepare(self, *, rehearse: bool) -> None:
        """Start the producer and, where asked to, see that tasks run: what is broken shows before all is measured."""
        self._producer = Producer(self.contender, self.environment, self.folder)
        if rehearse:
            self._new_file()
            with self._workers() as workers:
                self._warm_up(workers)

    def close(self) -> None:
        """End the producer."""
        if self._producer is not None:
            self._producer.stop()

    def run(self) -> dict[str, Any]:
        """One repeat; every task that was enqueued is accounted for in `tasks`."""
        began = time.monotonic()
        self._settle()
        self._new_file()
        self._first, self._recorded_before = self._next, self._recorded()
        found = self._pushed() if self.contender.pushes else self._waiting()
        shares = Counter(start.process for start in channel.read(self._file))
        return {
            **found,
            "seconds": round(time.monotonic() - began, 1),
            "bodies_of_each_process": sorted(shares.values(), reverse=True),
            "tasks": self._account(range(self._first, self._next)),
        }

    def _waiting(self) -> dict[str, Any]:
        self._call("single", _WARM_UP)
        found = {"single": self._single(), "bulk": self._bulk()}
        with self._workers() as workers:
            # Not what starting them costs.
            self._await(_WARM_UP, workers)
            before, done = self._usage(workers), channel.started(self._file)
            self._await(self._next - self._first, workers)
            starts = channel.read(self._file)
            self._await_recorded()
            found["usage"] = self._usage(workers).since(before, self._next - self._first - done)
            found["memory"] = resident(workers.pids())
            found["drain"] = {
                "count": len(starts),
                "per_second": drain_rate([(start.at, start.process) for start in starts]),
            }
            found |= {"idle": self._idle(), **self._durable(workers)}
            self._await_recorded()
        return found

    def _pushed(self) -> dict[str, Any]:
        with self._workers() as workers:
            self._warm_up(workers)
            found = {"single": self._single()}
            self._await(_WARM_UP + self.counts.single, workers)
            known = channel.started(self._file)
            before = self._usage(workers)
            found["bulk"] = bulk = self._bulk()
            self._await(known + self.counts.bulk, workers)
            self._await_recorded()
            found["usage"] = self._usage(workers).since(before, self.counts.bulk)
            found["memory"] = resident(workers.pids())
            last = max(start.at for start in channel.read(self._file, known))
            found["end_to_end"] = _rate(self.counts.bulk, (last - bulk["began"]) / 1e9)
            found |= {"idle": self._idle(), **self._durable(workers)}
            self._await_recorded()
        return found

    def _durable(self, workers: Processes) -> dict[str, Any]:
        """Stepped tasks and workflows, from the first enqueue to the end of the last body; none where there are none."""
        counts = {"stepped": self.counts.stepped, "workflow": self.counts.workflow}
        return {name: self._ended(name, count, workers) for name, count in counts.items() if self.contender.durable}

    def _ended(self, name: str, count: int, workers: Processes) -> dict[str, Any]:
        known = channel.started(self._file) + _FIRST
        self._call("many", _FIRST, name=name)
        self._await(known, workers)
        before = self._usage(workers)
        began = self._call("many", count, name=name)["began"]
        self._await(known + count, workers)
        self._await_recorded()
        used = self._usage(workers).since(before, count)
        ends = [start.at for start in channel.read(self._file, known)]
        if not ends:
            raise Unfinished(f"{self.contender.title}: none of {count} of {name} ended.")
        return {**_rate(len(ends), (max(ends) - began) / 1e9), "usage": used}

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
        if self.contender.registers and not self._registered:
            self._register(workers)
            self._registered = True
        self._call("single", _WARM_UP)
        self._await(_WARM_UP, workers)

    def _single(self) -> dict[str, Any]:
        return _rate(self.counts.single, self._call("single", self.counts.single)["seconds"])

    def _bulk(self) -> dict[str, Any]:
        answer = self._call("many", self.counts.bulk, name="bulk")
        return {**_rate(self.counts.bulk, answer["seconds"]), "began": answer["began"]}

    def _idle(self) -> dict[str, Any]:
        known, first, count = channel.started(self._file), self._next, self.counts.idle
        before = self._call("idle", count, file=str(self._file), looks=self.contender.looks)["before"]
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

    def _usage(self, workers: Processes) -> Usage:
        assert self._producer is not None
        pids = {**workers.pids(), "producer": self._producer.pid, **self.servers()}
        return Usage.now(pids, self.environment)

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

    def _await_recorded(self) -> None:
        """Let the last bodies' records be written: they are part of the work, and the workers may be stopped next."""
        deadline = time.monotonic() + _STALLED_SECONDS
        before, expected = self._recorded_before, self._next - self._first
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


def _rate(count: int, seconds: float) -> dict[str, Any]:
    return {"count": count, "seconds": seconds, "per_second": count / seconds}
