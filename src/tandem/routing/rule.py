"""One routing rule, which knows where it was written."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

from tandem.exceptions import RouteError, nearest

__all__ = ["Kind", "Override", "Rule", "Source", "parse_percent", "problems", "unknown_engine"]

_PATTERN: Final = re.compile(r"[\w.*?\[\]!-]+")
_WILDCARD: Final = re.compile(r"[*?\[]")
_PERCENT: Final = re.compile(r"100(\.0+)?|[0-9]{1,2}(\.[0-9]{1,2}0*)?")


class Kind(StrEnum):
    """What a rule does; OFF lifts an earlier kill switch (by engine) or an earlier rule (by pattern)."""

    DEFAULT = "default"
    PIN = "pin"
    PERCENT = "percent"
    KILL = "kill"
    OFF = "off"


class Source(StrEnum):
    """Where a rule was written, in order: a later one wins."""

    SETTINGS = "settings"
    ENVIRONMENT = "environment"
    OVERRIDE = "override"


_RANK: Final = {source: rank for rank, source in enumerate(Source)}
_TAKES: Final = {
    Kind.DEFAULT: ({"engine"},),
    Kind.PIN: ({"pattern", "engine"},),
    Kind.PERCENT: ({"pattern", "engine", "percent"}, {"pattern", "engine", "percent", "salt"}),
    Kind.KILL: ({"engine"},),
    Kind.OFF: ({"pattern"}, {"engine"}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule as it was written; wrong by itself, it raises `RouteError`.

    Whether its engine and its task exist is for `problems` to say. An empty `salt` stands for the one an earlier
    source gave to this pattern, else that of a wider percentage, else none: so that an override that raises a
    percentage moves no key back. `where` is for messages.
    """

    kind: Kind
    source: Source
    pattern: str = ""
    engine: str = ""
    percent: Decimal | None = None
    salt: str = ""
    author: str = ""
    created_at: datetime | None = None
    reason: str = ""
    where: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.where:
            object.__setattr__(self, "where", self.origin)
        if self.kind not in _TAKES:
            raise RouteError(f"{self.where}: unknown kind {self.kind!r}{nearest(self.kind, Kind)}")
        object.__setattr__(self, "kind", Kind(self.kind))  # A stored row gives the plain string.
        given = {name for name in ("pattern", "engine", "percent", "salt") if getattr(self, name) not in {"", None}}
        if given not in _TAKES[self.kind]:
            takes = " or ".join(", ".join(sorted(names)) for names in _TAKES[self.kind])
            raise RouteError(
                f"{self.where}: a rule of kind {self.kind.value!r} takes {takes}, but was given"
                f" {', '.join(sorted(given)) or 'none of them'}."
            )
        if self.percent is not None:
            object.__setattr__(self, "percent", parse_percent(self.percent, self.where))
        if self.pattern and not (_PATTERN.fullmatch(self.pattern) and ("." in self.pattern or self.is_glob)):
            raise RouteError(
                f"{self.where}: {self.pattern!r} is neither a task's dotted name nor a glob such as"
                f" 'emails.tasks.*'{nearest(self.pattern, ('default', 'kill'))}"
            )

    @property
    def is_glob(self) -> bool:
        """Whether the pattern is a glob and no plain name."""
        return _WILDCARD.search(self.pattern) is not None

    @property
    def origin(self) -> str:
        """Where and by whom it was written, such as `override by anna`."""
        return f"{self.source.value} by {self.author}" if self.author else self.source.value

    @property
    def label(self) -> str:
        """The rule in a decision's reason, such as `25% rule emails.* (settings)`."""
        what = self.share or self.kind.value
        return f"{what} rule {self.pattern} ({self.origin})" if self.pattern else what

    @property
    def share(self) -> str:
        """The percentage as people write it, such as `12.5%`; empty where the rule has none."""
        return "" if self.percent is None else f"{self.percent.quantize(Decimal('0.01'))}".rstrip("0").rstrip(".") + "%"

    @property
    def slot(self) -> tuple[str, str]:
        """What it rules: the default, one pattern, or one engine's kill switch. The latest rule of a slot holds."""
        if self.kind is Kind.DEFAULT:
            return "default", ""
        return ("pattern", self.pattern) if self.pattern else ("kill", self.engine)

    @property
    def order(self) -> tuple[int, float]:
        """Sorts rules by source, then by time: the last of a slot is the latest."""
        return _RANK[self.source], self.created_at.timestamp() if self.created_at else 0.0

    @property
    def specificity(self) -> tuple[bool, int, int, int, str]:
        """Sorts patterns: a name above a glob, a longer literal prefix above a shorter, a later source above both."""
        wildcard = _WILDCARD.search(self.pattern)
        prefix = wildcard.start() if wildcard else len(self.pattern)
        return wildcard is None, prefix, _RANK[self.source], len(self.pattern), self.pattern

    def matches(self, task: str) -> bool:
        """Whether the pattern names the task."""
        return fnmatchcase(task, self.pattern)


@dataclass(frozen=True, kw_only=True, slots=True)
class Override(Rule):
    """A rule that a person set while the system runs; the ledger stores it."""

    source: Source = Source.OVERRIDE


def parse_percent(value: Any, where: str) -> Decimal:
    """Read 0 to 100 with at most two decimals; anything else is a `RouteError` that starts with `where`."""
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    if not _PERCENT.fullmatch(text):
        raise RouteError(f"{where}: percent is {text!r}, but must be 0 to 100 with at most two decimals, such as 12.5.")
    return Decimal(text)


def problems(rules: Iterable[Rule], task_names: Iterable[str], engines: Iterable[str]) -> list[str]:
    """Say which of the rules (`Rules.written`, or one about to be set) name what does not exist.

    One sentence each: where it is written, the engine that is not configured or the pattern that matches no
    registered task, and the nearest valid name. Empty when all is well.
    """
    names, configured = sorted(task_names), list(engines)
    found = []
    for rule in rules:
        if rule.engine and rule.engine not in configured:
            found.append(unknown_engine(rule.engine, configured, rule.where))
        if rule.pattern and not any(rule.matches(name) for name in names):
            folders = sorted({name[: dot.start()] + ".*" for name in names for dot in re.finditer(r"\.", name)})
            hint = nearest(rule.pattern, folders if rule.is_glob else names)
            found.append(f"{rule.where}: pattern {rule.pattern!r} matches no registered task{hint}")
    return found


def unknown_engine(engine: str, configured: Iterable[str], where: str) -> str:
    """Say that an engine is not configured, which ones are, and which was meant."""
    names = list(configured)
    listed = f"Configured engines: {', '.join(names)}." if names else "No engine is configured."
    return f"{where}: engine {engine!r} is not configured{nearest(engine, names)} {listed}"
