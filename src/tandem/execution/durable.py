"""What a durable call yields, and an engine's side of it.

A durable call (`calls`) is a generator that yields what it needs; `drivers` has what runs it: one driver for sync
bodies, one for async ones. An engine brings a `Durable`: how a step begins and completes, and how a body suspends.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

from tandem.execution.attempt import Attempt, StepKey
from tandem.ledger.statement import Statement

__all__ = ["Answered", "Atomic", "Awaited", "Blocking", "Durable", "DurableCall", "Need", "Perform", "Suspension"]


@dataclass(frozen=True, slots=True)
class Perform:
    """Needs a step's function called, and awaited where it is async; is sent what it answered."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Atomic:
    """Needs a step's function called and recorded in one transaction; is sent the recorded result."""

    key: StepKey
    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Blocking:
    """Needs a function called that uses Django's connection."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Awaited:
    """Needs a coroutine awaited on an engine's loop; an attempt that is stopped meanwhile cancels it."""

    make: Callable[[], Coroutine[Any, Any, Any]]
    loop: asyncio.AbstractEventLoop


type Need = Statement[Any] | Perform | Atomic | Blocking | Awaited
type DurableCall[T] = Generator[Need, Any, T]


@dataclass(frozen=True, slots=True)
class Answered:
    """What an engine's own record has of a step."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Where a body waits, for at most `seconds` (None: without end).

    `statement` gives up the lease and answers whether it did: not where something came, or a cancel was asked for. It
    takes the engine's address for what wakes it, where a sleep (not `wakeable`) has none. Without a statement the wait
    is over in the ledger; what an engine's own record has of it stands here.
    """

    key: StepKey
    seconds: float | None
    statement: Callable[[str | None], Statement[bool]] | None
    wakeable: bool = True


class Durable:
    """An engine's side of a context's calls; one for each attempt. The defaults keep nothing beside the ledger."""

    attempt: Attempt | None = None

    def take(self, attempt: Attempt) -> None:
        """Hear, where the body runs, whose calls these are: before its signals, and again once its clock runs."""
        self.attempt = attempt

    def begin(self, attempt: Attempt, key: StepKey) -> DurableCall[Answered | None]:
        """Begin a step: answer what the engine has of it, or None where the body is to perform it."""
        yield from ()
        return None

    def complete(self, attempt: Attempt, key: StepKey, value: Any) -> DurableCall[None]:
        """Complete a step that began, once the ledger has its result."""
        yield from ()

    def fail(self, key: StepKey) -> None:
        """Hear that a step that began is not completed: its function raised, or its attempt is over."""

    def suspend(self, attempt: Attempt, suspension: Suspension) -> DurableCall[None]:
        """Give up the lease and raise `AttemptOver`; or return, where the wait is over or something came."""
        if suspension.statement is not None and (yield suspension.statement(None)):
            raise attempt.end(f"it waits at {suspension.key.label}")

    def publish(self, attempt: Attempt, current: float, total: float | None, message: str) -> None:
        """Publish progress that was written, where the engine has readers; must not block."""
