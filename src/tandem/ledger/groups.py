"""Executing in groups what the threads of one process ask at once: one statement, one commit, an answer for each.

A thread that finds nobody asking asks at once, alone. What others ask meanwhile is asked next, together, by one of them:
nothing waits for a group to fill, and an idle process answers as soon as without groups.

A group waits for no row. What it leaves out (a row that somebody has locked, or that is not as its statement wants it) is
asked by its own thread, alone, on that thread's connection; so is every part of a group that failed. Where a lost
connection had committed it already, that is refused, as a reference that comes twice is: an end is written then, and
what was claimed goes on once its lease has run out.
"""

import json
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID
from weakref import WeakSet

from psycopg.types.json import Jsonb

from tandem.exceptions import LedgerUnavailable
from tandem.ledger import connection as ledger
from tandem.ledger.statement import Statement

__all__ = ["Groups", "in_one"]

logger = logging.getLogger("tandem.ledger")

_MOST: Final = 64
"""Rows of one statement: each looks its values up in lists of so many."""

_SLOW_SECONDS: Final = 0.003
"""A statement that takes longer (a disk, a server, a connection to open) is one that nobody else should wait for."""

_PATIENCE_SECONDS: Final = 5.0
"""After so long what waits for its turn is asked alone: connections that do not answer are not all there are."""

# A connection for which all threads wait is not left to the system's quarter of an hour, or two hours, once the other
# side's machine is gone.
_LOST_AFTER: Final = {"tcp_user_timeout": 10_000, "keepalives_idle": 5, "keepalives_interval": 5}


def in_one(statements: Sequence[Statement[Any]]) -> Statement[dict[UUID, tuple[Any, ...]]]:
    """Make one statement of several of one kind about different rows; it reads the row that each answers with, by id."""
    first = statements[0]
    if first.together is None:
        raise TypeError(f"{first.name} has no form for many rows")
    parameters = {name: _array([each.parameters[name] for each in statements]) for name in first.parameters}
    return Statement(first.name, first.together, parameters, lambda rows: {row[0]: tuple(row) for row in rows})


def _array(values: Sequence[Any]) -> str:
    """PostgreSQL's text for a list: psycopg's own way to one costs as much as the rest of a small statement."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int | float | UUID):
        return str(value)
    text = json.dumps(value.obj) if isinstance(value, Jsonb) else value
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _locked() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class _Asked:
    """What one thread asks: `turn` opens once it is answered, or its thread is to ask for the next group."""

    statement: Statement[Any]
    turn: threading.Lock = field(default_factory=_locked)
    leads: bool = False
    row: tuple[Any, ...] | None = None

    @property
    def id(self) -> UUID:
        found: UUID = self.statement.parameters["id"]
        return found


class _Lane:
    """Statements of one kind, at most so many of them at once, each on a connection of the lane's."""

    def __init__(self, at_once: int) -> None:
        self._lock = threading.Lock()
        self._at_once = at_once
        self._running = 0
        self._waiting: list[_Asked] = []
        self._idle: list[ledger.Kept] = []

    def execute[T](self, statement: Statement[T]) -> T:
        asked = _Asked(statement)
        with self._lock:
            if self._running:
                self._waiting.append(asked)
            else:
                self._running, asked.leads = 1, True
        try:
            if not asked.leads and not asked.turn.acquire(timeout=_SLOW_SECONDS):
                self._wait(asked)
        finally:
            # An exception may have come to the thread while it waited (a signal's): who waits behind it is not left.
            self._lead(asked)
        return ledger.execute(statement) if asked.row is None else statement.read([asked.row])

    def _wait(self, asked: _Asked) -> None:
        """Wait no longer for a statement that is slow, where another may run beside it; nor for ever where none may."""
        with self._lock:
            if asked in self._waiting and self._running < self._at_once:
                self._waiting.remove(asked)
                self._running += 1
                asked.leads = True
                return
        while not asked.turn.acquire(timeout=_PATIENCE_SECONDS):
            with self._lock:
                if asked in self._waiting:
                    # Taken out here: a group that took it along would ask for it beside its own thread.
                    self._waiting.remove(asked)
                    return

    def _lead(self, asked: _Asked) -> None:
        """Where it is this thread's turn, ask for all that wait, and give the turn to the first that came meanwhile."""
        with self._lock:
            if not asked.leads:
                if asked in self._waiting:
                    self._waiting.remove(asked)
                return
            group, self._waiting = _apart([asked, *self._waiting])
            kept = self._idle.pop() if self._idle else ledger.Kept(_LOST_AFTER)
        try:
            self._ask(group, kept)
        finally:
            with self._lock:
                self._idle.append(kept)
                if self._waiting:
                    heir = self._waiting.pop(0)
                    heir.leads = True
                    heir.turn.release()
                else:
                    self._running -= 1
            for other in group[1:]:
                other.turn.release()

    def _ask(self, group: Sequence[_Asked], kept: ledger.Kept) -> None:
        try:
            rows = kept.execute(in_one([asked.statement for asked in group]))
        except Exception as error:  # noqa: BLE001  # each asks alone, and raises its own
            level = logging.INFO if isinstance(error, LedgerUnavailable) else logging.WARNING
            logger.log(level, "%d of %s are executed one by one: %s", len(group), group[0].statement.name, error)
            return
        for asked in group:
            asked.row = rows.get(asked.id)

    @property
    def waiting(self) -> int:
        return len(self._waiting)


def _apart(asked: Iterable[_Asked]) -> tuple[list[_Asked], list[_Asked]]:
    """Take those of different rows, at most so many; and who is left."""
    group: dict[UUID, _Asked] = {}
    left: list[_Asked] = []
    for each in asked:
        if each.id in group or len(group) == _MOST:
            left.append(each)
        else:
            group[each.id] = each
    return list(group.values()), left


_all: "WeakSet[Groups]" = WeakSet()


def _renew_all() -> None:
    for groups in _all:
        groups.renew()


os.register_at_fork(after_in_child=_renew_all)


class Groups:
    """Executes a process's statements: in groups those that have such a form, the others as `connection.execute`.

    `at_once`: how many groups of a kind may run beside each other, where a disk or a server is slow.
    """

    def __init__(self, *, at_once: int = 4) -> None:
        self._at_once = at_once
        self.renew()
        _all.add(self)

    def renew(self) -> None:
        """Begin anew, as a forked child does: the statements under way are its parent's, and so are those who wait."""
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}

    def execute[T](self, statement: Statement[T]) -> T:
        """Execute and commit; raises as `connection.execute`."""
        if statement.together is None:
            return ledger.execute(statement)
        lane = self._lanes.get(statement.name)
        if lane is None:
            with self._lock:
                lane = self._lanes.setdefault(statement.name, _Lane(self._at_once))
        return lane.execute(statement)

    def waiting(self, name: str) -> int:
        """How many statements of that name wait for their turn."""
        lane = self._lanes.get(name)
        return 0 if lane is None else lane.waiting
