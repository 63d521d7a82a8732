"""How much memory and how many threads each process has, over time, and how that is judged."""

import statistics
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import psutil

from tests.chaos.processes import Process

__all__ = ["Memory", "Samples", "threads"]

_EVERY_SECONDS: Final = 0.5
_MEBIBYTE: Final = 2**20

GROWTH: Final = 0.05
"""Flat: the median of the last quarter of the samples is at most this much above that of the second quarter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """The resident memory of one process, in MiB, by the median of each quarter of its samples but the first."""

    name: str
    second: float
    third: float
    last: float

    @property
    def growth(self) -> float:
        return self.last / self.second - 1

    @property
    def is_flat(self) -> bool:
        return self.growth <= GROWTH


@dataclass(kw_only=True)
class Samples:
    """Samples the memory of processes and of their children while the block runs."""

    processes: Mapping[str, Process]
    _taken: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _threads: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def memory(self) -> list[Memory]:
        """Each process that was sampled often enough to be judged."""
        return [_judge(name, values) for name, values in sorted(self._taken.items()) if len(values) >= 8]

    def most_threads(self) -> dict[str, int]:
        """The most threads that each process had in the second quarter of its samples."""
        counts = {name: values[len(values) // 4 : len(values) // 2] for name, values in self._threads.items()}
        return {name: max(values, default=0) for name, values in counts.items()}

    def _run(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            for name, process in _each(self.processes):
                self._taken[name].append(process.memory_info().rss / _MEBIBYTE)
                self._threads[name].append(process.num_threads())


def _judge(name: str, values: list[float]) -> Memory:
    quarter = len(values) // 4
    second, third, last = (statistics.median(values[n * quarter : (n + 1) * quarter]) for n in (1, 2, 3))
    return Memory(name=name, second=second, third=third, last=last)


def threads(processes: Mapping[str, Process]) -> dict[str, int]:
    """How many threads each process has now."""
    return {name: process.num_threads() for name, process in _each(processes)}


def _each(processes: Mapping[str, Process]) -> Iterator[tuple[str, psutil.Process]]:
    """Each process and its children, which are named by their order: one that is replaced shows as a change."""
    for name, process in processes.items():
        yield name, psutil.Process(process.pid)
        for number, child in enumerate(sorted(process.children), start=1):
            yield f"{name} child {number}", psutil.Process(child)
