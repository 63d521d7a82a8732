"""One run: each fault under a load of its own, on one system that lives through them all."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from django.db import connection

from tests.chaos import evidence, report
from tests.chaos.counting import count
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.load import ENGINES, Load
from tests.chaos.system import System
from tests.chaos.waiting import Overdue, until

__all__ = ["Size", "run"]

_BEFORE: Final = 0.3
_DONE_SECONDS: Final = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much load each fault gets on each engine, how fast, and for how long what is frozen or cut stays so."""

    executions: int
    pace: float
    pause: float


def run(system: System, faults: Sequence[Fault], size: Size, say: Callable[[str], None]) -> list[report.Result]:
    """Inject every fault in turn and answer the rows, which are said as they come."""
    results: list[report.Result] = []
    for fault in faults:
        for result in _suffer(system, fault, size):
            results.append(result)
            say(report.line(result))
    return results


def _suffer(system: System, fault: Fault, size: Size) -> Iterator[report.Result]:
    system.mark()
    load = Load(owner=fault.name, calls=size.executions, pace=size.pace)
    load.start()
    load.reach(_BEFORE)
    ended = fault.inject(Scene(system=system, load=load, pause=size.pause))
    load.join()
    problem = ""
    try:
        until(lambda: not evidence.unfinished(fault.name), "all is done", seconds=_DONE_SECONDS)
        system.check()
    except Overdue as error:
        problem = str(error)
    found = evidence.gather(system, fault.name, load.acknowledged)
    connection.close()
    for engine in ENGINES:
        yield report.Result(title=fault.title, engine=engine, counts=count(found, engine, ended=ended), problem=problem)
