"""What a fault is."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.load import Load
from tests.chaos.system import System

__all__ = ["Fault", "Scene"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What a fault is given: the system, the load that runs on it, and for how many seconds to freeze or cut."""

    system: System
    load: Load
    pause: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """`inject` does it, puts things right as a supervisor or an operator would, and answers when the fault was over.

    For a process that is killed that is when it died: starting again is part of getting over it. For a server it is
    when it answers again.
    """

    name: str
    title: str
    inject: Callable[[Scene], float]
