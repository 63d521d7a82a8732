"""One run: each fault under a load of its own, on one system that lives through them all."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

import httpx
from django.db import Error, connection

from tests.chaos import evidence, report
from tests.chaos.approver import Approver
from tests.chaos.counting import count, details
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.load import ENGINES, Load
from tests.chaos.system import System
from tests.chaos.waiting import Overdue, until

__all__ = ["Size", "run"]

_BEFORE: Final = 0.3
_DONE_SECONDS: Final = 120.0
_SHOWN: Final = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much load each fault gets on each engine, how fast, and for how long what is frozen or cut stays so.

    `executions` are at least; `pace` is executions a second.
    """

    executions: int
    pace: float
    pause: float


def run(system: System, faults: Sequence[Fault], size: Size, say: Callable[[str], None]) -> list[report.Result]:
    """Inject every fault in turn and answer the rows, which are said as they come."""
    results: list[report.Result] = []
    for setting, alike in groupby(faults, key=lambda fault: fault.setting):
        with setting(system) as call:
            for fault in alike:
                load = Load(owner=fault.name, executions=size.executions, pace=size.pace, call=call)
                scene = Scene(system=system, load=load, pause=size.pause)
                for result in _suffer(fault, scene):
                    results.append(result)
                    say(report.line(result))
                for note in scene.notes:
                    say(f"    {note}")
    return results


def _suffer(fault: Fault, scene: Scene) -> Iterator[report.Result]:
    system, load = scene.system, scene.load
    system.mark()
    problem = ""
    with Approver(owner=fault.name):
        load.start()
        load.reach(_BEFORE)
        began = time.time()
        ended = fault.inject(scene)
        load.finish()
        try:
            until(lambda: not _unfinished(fault.name), "all is done", seconds=_DONE_SECONDS)
            until(lambda: not _invocations(system), "Restate has no invocation left", seconds=_DONE_SECONDS)
            system.check()
        except Overdue as error:
            problem = str(error)
    found = evidence.gather(system, fault.name, load.acknowledged)
    if fault.of_the_ledger:
        found = replace(found, away=(began, ended))
    connection.close()
    for engine in ENGINES:
        yield report.Result(
            title=fault.title,
            engine=engine,
            counts=count(found, engine, ended=ended, lease=system.lease),
            problem=problem,
        )
        wrong = list(details(found, engine, lease=system.lease))
        scene.notes.extend(wrong[:_SHOWN])
        if len(wrong) > _SHOWN:
            scene.notes.append(f"and {len(wrong) - _SHOWN} more on {engine}")


def _unfinished(owner: str) -> bool:
    try:
        return evidence.unfinished(owner) > 0
    except Error:
        # The fault may have taken this connection too.
        connection.close()
        return True


def _invocations(system: System) -> bool:
    try:
        return system.invocations() > 0
    except httpx.HTTPError:
        # Restate may be on its way back.
        return True
