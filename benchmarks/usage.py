"""What a number of tasks cost: the processor's time of each process, and what PostgreSQL wrote."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import psutil
import psycopg

from benchmarks.environment import Environment

__all__ = ["Usage", "resident"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Seconds of the processor by process, its children's too; transactions that wrote, and bytes of the log."""

    seconds: Mapping[str, float]
    transactions: int
    written: int

    @classmethod
    def now(cls, pids: Mapping[str, int], environment: Environment) -> Self:
        """Read it; reading writes nothing."""
        with psycopg.connect(**environment.connection()) as connection:
            row = connection.execute(
                "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint, (pg_current_wal_lsn() - '0/0')::bigint"
            ).fetchone()
        assert row is not None
        return cls(seconds={name: _seconds(pid) for name, pid in pids.items()}, transactions=row[0], written=row[1])

    def since(self, before: Self, tasks: int) -> dict[str, Any]:
        """For each of so many tasks: `cpu` in milliseconds by process and of `all`, writing transactions, and bytes."""
        each = max(tasks, 1)
        cpu = {name: (self.seconds[name] - before.seconds[name]) * 1e3 / each for name in before.seconds}
        return {
            "cpu": {**cpu, "all": sum(cpu.values())},
            "transactions": (self.transactions - before.transactions) / each,
            "written": (self.written - before.written) / each,
        }


def resident(pids: Mapping[str, int]) -> dict[str, float]:
    """MB that each process has in memory with its children, shared pages by their shares; of `all` but the relay, too."""
    found = {}
    for name, pid in pids.items():
        total = 0.0
        for each in _family(pid):
            with suppress(psutil.NoSuchProcess):
                total += each.memory_full_info().pss / 1e6
        found[name] = total
    return {**found, "all": sum(size for name, size in found.items() if name != "relay")}


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _seconds(pid: int) -> float:
    """What a process has had with its children, those that ended too."""
    total = 0.0
    for each in _family(pid):
        with suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:4])
    return total
