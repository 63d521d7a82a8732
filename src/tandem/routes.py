"""The rules in force in this process: settings, environment, and the ledger's overrides, re-read on use."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tandem import registry
from tandem.configuration import Configuration
from tandem.declarations import Task
from tandem.exceptions import RouteError
from tandem.ledger import connection as ledger
from tandem.ledger.statement import Statement
from tandem.routing import Decision, Facts, Kind, Override, Rule, Rules, decide, from_environment, from_settings, merge

__all__ = ["Router", "overrides", "requirements"]

logger = logging.getLogger("tandem.router")

OVERRIDES: Final = """
SELECT kind, pattern, engine, percent, salt, author, created_at, reason FROM tandem_override ORDER BY created_at, id
"""


def _read(rows: Sequence[tuple[Any, ...]]) -> tuple[Override, ...]:
    names = ("kind", "pattern", "engine", "percent", "salt", "author", "created_at", "reason")
    return tuple(Override(**dict(zip(names, row, strict=True))) for row in rows)


def overrides() -> Statement[tuple[Override, ...]]:
    """Read every override."""
    return Statement("overrides", OVERRIDES, {}, _read)


class Router:
    """Decides by the rules as they are now; overrides are read at most once in `override_seconds` per process.

    `engines` are the configured ones, and what each can do.
    """

    def __init__(
        self,
        configuration: Configuration,
        capabilities: Mapping[str, frozenset[str]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configuration = configuration
        self.engines = capabilities
        self._clock = clock
        self._lock = threading.Lock()
        where = f"TASKS[{configuration.alias!r}]['OPTIONS']['ROUTES']"
        engines = configuration.routable
        self._written = (
            *from_settings(configuration.routes, engines=engines, where=where),
            *from_environment(configuration.environment_routes, engines=engines),
        )
        self._overrides: tuple[Override, ...] = ()
        self._rules = merge(self._written)
        self._read_at = float("-inf")

    def rules_written(self) -> tuple[Rule, ...]:
        """Return the rules of settings and environment, without asking the ledger."""
        return self._written

    def unservable(self) -> list[str]:
        """Say which of this backend's tasks those rules send where they cannot run, so that each enqueue would fail."""
        rules, found = merge(self._written), []
        for name, task in registry.registered_tasks().items():
            try:
                if task.backend == self._configuration.alias:
                    decide(self.facts(task=name, key="", requires=requirements(task)), rules)
            except RouteError as error:
                found.append(str(error))
        return found

    def rules(self, *, fresh: bool = False) -> Rules:
        """Return the rules in force; `fresh` reads the overrides now."""
        if self._configuration.in_memory or not ledger.is_postgresql():
            return self._rules
        now = self._clock()
        if fresh or now - self._read_at >= self._configuration.override_seconds:
            with self._lock:
                if fresh or now - self._read_at >= self._configuration.override_seconds:
                    found = ledger.execute_in_transaction(overrides())
                    if found != self._overrides:
                        self._overrides, self._rules = found, merge(self._written, self._usable(found))
                    self._read_at = now
        return self._rules

    def facts(
        self,
        *,
        task: str,
        key: str,
        requires: frozenset[str] = frozenset(),
        pinned: str | None = None,
        parent_engine: str | None = None,
        queue: str = "default",
        priority: int = 0,
    ) -> Facts:
        """What a decision for this call rests on."""
        return Facts(
            task=task,
            key=key,
            configured=self.engines,
            requires=requires,
            pinned=pinned,
            parent_engine=parent_engine,
            queue=queue,
            priority=priority,
        )

    def is_uniform(self, task: str) -> bool:
        """Whether every call of a task gets the same decision: no percentage divides them."""
        return self.rules().plan(task).share is None

    def decide(self, facts: Facts) -> Decision:
        """Choose the engine; raises `RouteError` where none can serve."""
        return decide(facts, self.rules())

    def _usable(self, found: tuple[Override, ...]) -> tuple[Override, ...]:
        """Leave out overrides for an engine that is no longer configured: they must not stop enqueueing."""
        usable = tuple(rule for rule in found if rule.kind is Kind.OFF or rule.engine in self._configuration.routable)
        for rule in found:
            if rule not in usable:
                logger.warning("The override %s names engine %r, which is not configured.", rule.label, rule.engine)
        return usable


def requirements(task: Task) -> frozenset[str]:
    """What the call asks of an engine, by its options."""
    needs = set(task.requires)
    if task.run_after is not None:
        needs.add("defer")
    if task.workflow:
        needs.add("workflow")
    return frozenset(needs)
