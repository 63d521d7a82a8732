"""All rules of all sources, merged so that the later source wins, and ready to decide by."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from tandem.exceptions import RouteError
from tandem.routing.rule import Kind, Rule

__all__ = ["BUCKETS", "Plan", "Row", "Rules", "merge", "table"]

BUCKETS: Final = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What the rules say of one task: the share that moves, if any, and the rule for the rest.

    Of the share, keys in the buckets below `threshold` go to its engine.
    """

    task: str
    share: Rule | None
    rest: Rule
    salt: str
    threshold: int
    share_label: str
    rest_label: str

    def bucket(self, key: str) -> int:
        """The key's place, 0 to 9,999: the same in every process and under every percentage of this salt."""
        digest = hashlib.sha256(f"{self.salt}:{self.task}:{key}".encode()).digest()
        return int.from_bytes(digest) % BUCKETS


@dataclass(frozen=True, kw_only=True, eq=False)
class Rules:
    """Merged rules; build them with `merge` and keep them while nothing changes.

    What they say of a task is looked up once and remembered, without limit: tasks are those of the registry.

    `written` has every rule, shadowed ones too, the latest last. `holding` has the rule in force per slot, `patterns`
    the pins and percentages in force (most specific first), `kills` the kill switches by engine.
    """

    written: tuple[Rule, ...]
    holding: Mapping[tuple[str, str], Rule]
    default: Rule
    patterns: tuple[Rule, ...]
    kills: Mapping[str, Rule]
    _plans: dict[str, Plan] = field(init=False, repr=False, default_factory=dict)

    def plan(self, task: str) -> Plan:
        """Look up what holds for `task`.

        The most specific rule wins. What a percentage leaves goes by the most specific pin below it that names
        another engine, else by default; wider percentages no longer count.
        """
        plan = self._plans.get(task)
        if plan is None:
            plan = self._plans[task] = self._compile(task)
        return plan

    def _compile(self, task: str) -> Plan:
        matching = [rule for rule in self.patterns if rule.matches(task)]
        share = matching[0] if matching and matching[0].kind is Kind.PERCENT else None
        taken = share.engine if share else ""
        pins = (rule for rule in matching if rule.kind is Kind.PIN and rule.engine != taken)
        rest = next(pins, self.default)
        return Plan(
            task=task,
            share=share,
            rest=rest,
            salt=next((rule.salt for rule in matching if rule.salt), ""),
            threshold=int(share.percent * 100) if share and share.percent else 0,
            share_label=share.label if share else "",
            rest_label=rest.label,
        )


def merge(*sources: Iterable[Rule]) -> Rules:
    """Merge settings, environment and overrides, in whatever order they come: each rule knows its source and time.

    Raises `RouteError` when no rule gives the default.
    """
    written = sorted((rule for source in sources for rule in source), key=lambda rule: rule.order)
    holding: dict[tuple[str, str], Rule] = {}
    salts: dict[str, str] = {}
    for index, rule in enumerate(written):
        if rule.kind is Kind.PERCENT:
            salts[rule.pattern] = rule.salt or salts.get(rule.pattern, "")
            written[index] = replace(rule, salt=salts[rule.pattern])
        holding[rule.slot] = written[index]
    if ("default", "") not in holding:
        raise RouteError("No rule names the default engine; settings give one with ROUTES = {'default': ENGINE}.")
    in_force = [rule for rule in holding.values() if rule.kind is not Kind.OFF]
    return Rules(
        written=tuple(written),
        holding=holding,
        default=holding["default", ""],
        patterns=tuple(sorted((rule for rule in in_force if rule.pattern), key=lambda rule: rule.specificity)[::-1]),
        kills={rule.engine: rule for rule in in_force if rule.kind is Kind.KILL},
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """A rule as `routes list` shows it.

    `pattern` is `kill` or `default` for a rule of that kind. `shadowed_by` names who wrote the rule that holds in its
    place, and is empty while it holds itself.
    """

    pattern: str
    effect: str
    source: str
    author: str
    created_at: datetime | None
    reason: str
    shadowed_by: str


def table(rules: Rules) -> list[Row]:
    """Every written rule in the order they decide: kill switches, patterns (most specific first), default.

    Beneath a rule that holds come those it shadows, newest first; patterns that were lifted come after the others.
    """
    slots = dict.fromkeys(
        [
            *sorted(slot for slot in rules.holding if slot[0] == "kill"),
            *(rule.slot for rule in rules.patterns),
            *sorted(slot for slot in rules.holding if slot[0] == "pattern"),
            ("default", ""),
        ]
    )
    return [_row(rule, rules.holding[slot]) for slot in slots for rule in reversed(rules.written) if rule.slot == slot]


def _row(rule: Rule, holding: Rule) -> Row:
    share = f"{rule.share} to " if rule.share else ""
    salt = f", salt {rule.salt}" if rule.salt else ""
    off = " off" if rule.kind is Kind.OFF else ""
    return Row(
        pattern=rule.pattern or rule.slot[0],
        effect=f"{share}{rule.engine}{salt}{off}".strip(),
        source=rule.source.value,
        author=rule.author,
        created_at=rule.created_at,
        reason=rule.reason,
        shadowed_by="" if rule is holding else holding.origin,
    )
