"""What a contender is, and the command lines that contenders share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.environment import Environment
from benchmarks.processes import python

__all__ = ["LOOP", "WORKERS", "Command", "Contender", "django", "migrate"]

WORKERS: Final = 2

LOOP: Final = "a loop of single calls; there is no bulk call"

type Command = Sequence[str]


def django(*arguments: str) -> Command:
    """A command of Django's, as `manage.py` has it."""
    return python("-m", "django", *arguments)


def migrate(_: Environment) -> Command:
    """Make the tables of the contender's apps."""
    return django("migrate", "--verbosity", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to run a task.

    `module` enqueues. `workers` are the command lines that must run for tasks to run. `recorded` is SQL that counts
    the tasks whose success is stored, where it is, without their children. `migration` makes its tables. `pushes`: none
    of its tasks can be kept waiting for a drain, since Restate sends them to its service, and DBOS takes all at its first
    look; `registers`: the run has to tell Restate of that service. `durable`: it has steps and workflows. `share`: what
    part of the no-ops it is given, where all of them would take minutes. `looks`: the most seconds between two looks of
    an idle worker for work, where it looks. `is_release`: its processes run the code of the last release.
    """

    name: str
    title: str
    module: str
    workers: Callable[[Environment], Sequence[Command]]
    stored: str
    acknowledged: str
    processes: str
    bulk: str
    recorded: str | None = None
    migration: Callable[[Environment], Command] | None = None
    redis_database: int = 0
    pushes: bool = False
    registers: bool = False
    durable: bool = False
    share: float = 1.0
    looks: float = 0.0
    is_release: bool = False
