"""What a fault is."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from tests.chaos.load import Call, Load, enqueue
from tests.chaos.system import System

__all__ = ["Fault", "Scene", "Setting", "as_it_is"]

type Setting = Callable[[System], AbstractContextManager[Call]]
"""What is put in place before a fault's load begins, and taken away after it; answers how the load calls."""


@contextmanager
def as_it_is(_: System) -> Iterator[Call]:
    """The system as it stands, called as any Django process calls it."""
    yield enqueue


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What a fault is given: the system, the load that runs on it, and for how many seconds to freeze or cut.

    What it puts into `notes` is printed below its rows.
    """

    system: System
    load: Load
    pause: float
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """`inject` does it, puts things right as a supervisor or an operator would, and answers when the fault was over.

    For a process that is killed that is when it died: starting again is part of getting over it. For a server it is
    when it answers again. `of_the_ledger`: meanwhile PostgreSQL does not answer.
    """

    name: str
    title: str
    inject: Callable[[Scene], float]
    setting: Setting = as_it_is
    of_the_ledger: bool = False
