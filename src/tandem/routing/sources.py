"""Reading rules from where people write them: settings, the environment, a command's argument."""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from tandem.exceptions import RouteError, nearest
from tandem.routing.rule import Kind, Rule, Source, parse_percent, unknown_engine

__all__ = ["from_environment", "from_settings", "parse_target"]

_ROUTES = ("default", "tasks", "kill")
_TASK = ("engine", "percent", "salt")
_GRAMMAR = "'default=ENGINE; PATTERN=ENGINE; PATTERN=ENGINE:PERCENT; kill=ENGINE'"


def from_settings(routes: Mapping[str, Any], *, engines: Collection[str], where: str = "ROUTES") -> tuple[Rule, ...]:
    """Read `{"default": ENGINE, "tasks": {PATTERN: ENGINE or {"engine", "percent", "salt"}}, "kill": [ENGINE]}`.

    All keys may be missing; without a default the first of `engines` is it. `where` begins every message.
    Raises `RouteError` at the first mistake, naming the key, the value and the nearest valid one.
    """
    _refuse_unknown_keys(routes, _ROUTES, where)
    if not engines:
        raise RouteError(f"{where}: no engine is configured, so nothing can be routed.")
    spot = f"{where}['default']"
    default = _engine(routes.get("default", next(iter(engines))), engines, spot)
    rules = [Rule(kind=Kind.DEFAULT, source=Source.SETTINGS, engine=default, where=spot)]
    tasks = routes.get("tasks", {})
    if not isinstance(tasks, Mapping):
        raise RouteError(f"{where}['tasks'] is {tasks!r}, but must map patterns to engines.")
    rules += [
        _from_setting(pattern, value, engines, f"{where}['tasks'][{pattern!r}]") for pattern, value in tasks.items()
    ]
    kills, spot = routes.get("kill", ()), f"{where}['kill']"
    if isinstance(kills, str) or not isinstance(kills, Collection):
        raise RouteError(f"{spot} is {kills!r}, but must be a list of engines.")
    names = dict.fromkeys(_engine(name, engines, spot) for name in kills)
    return (*rules, *(Rule(kind=Kind.KILL, source=Source.SETTINGS, engine=name, where=spot) for name in names))


def _from_setting(pattern: Any, value: Any, engines: Collection[str], where: str) -> Rule:
    if not isinstance(pattern, str) or not pattern:
        raise RouteError(f"{where}: a pattern is a task's dotted name or a glob, not {pattern!r}.")
    entry = {"engine": value} if isinstance(value, str) else value
    _refuse_unknown_keys(entry, _TASK, where)
    if "engine" not in entry:
        raise RouteError(f"{where} has no 'engine'. Configured engines: {', '.join(engines)}.")
    salt = entry.get("salt", "")
    if not isinstance(salt, str):
        raise RouteError(f"{where}['salt'] is {salt!r}, but must be a string.")
    return Rule(
        kind=Kind.PERCENT if "percent" in entry else Kind.PIN,
        source=Source.SETTINGS,
        pattern=pattern,
        engine=_engine(entry["engine"], engines, where),
        percent=parse_percent(entry["percent"], where) if "percent" in entry else None,
        salt=salt,
        where=where,
    )


def from_environment(text: str, *, engines: Collection[str], name: str = "TANDEM_ROUTES") -> tuple[Rule, ...]:
    """Read `default=ENGINE; PATTERN=ENGINE; PATTERN=ENGINE:PERCENT; kill=ENGINE`; spaces and empty entries are nothing.

    `kill` may come more than once, all else once. Raises `RouteError` at the first mistake, naming the entry.
    """
    rules: dict[tuple[str, str], Rule] = {}
    for entry in filter(None, map(str.strip, text.split(";"))):
        where = f"{name} entry {entry!r}"
        left, separator, right = (part.strip() for part in entry.partition("="))
        if not (left and separator and right) or "=" in right:
            raise RouteError(f"{where} is malformed. Entries are parted by ';', as in {_GRAMMAR}.")
        engine, percent = parse_target(right, engines=engines, where=where)
        reserved = left in {"default", "kill"}
        if reserved and percent is not None:
            raise RouteError(f"{where}: {left!r} takes an engine and no percentage.")
        kind = Kind(left) if reserved else Kind.PIN if percent is None else Kind.PERCENT
        pattern = "" if reserved else left
        rule = Rule(kind=kind, source=Source.ENVIRONMENT, pattern=pattern, engine=engine, percent=percent, where=where)
        if rule.slot in rules and kind is not Kind.KILL:
            raise RouteError(f"{where}: {left!r} was given before, by {rules[rule.slot].where}. Keep one of them.")
        rules[rule.slot] = rule
    return tuple(rules.values())


def parse_target(text: str, *, engines: Collection[str], where: str) -> tuple[str, Decimal | None]:
    """Read `ENGINE` or `ENGINE:PERCENT`, as in the environment and in `routes set`. `where` begins every message."""
    engine, separator, percent = (part.strip() for part in text.partition(":"))
    return _engine(engine, engines, where), parse_percent(percent, where) if separator else None


def _engine(name: Any, engines: Collection[str], where: str) -> str:
    if not isinstance(name, str) or not name:
        raise RouteError(f"{where}: {name!r} is no engine's name. Configured engines: {', '.join(engines)}.")
    if name not in engines:
        raise RouteError(unknown_engine(name, engines, where))
    return name


def _refuse_unknown_keys(entry: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(entry, Mapping):
        raise RouteError(f"{where} is {entry!r}, but must be a dictionary with the keys {', '.join(known)}.")
    for key in entry:
        if key not in known:
            raise RouteError(f"{where} has an unknown key {key!r}{nearest(str(key), known)} Keys: {', '.join(known)}.")
