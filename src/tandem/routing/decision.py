"""One task's facts and the rules give its engine, once, with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tandem.exceptions import RouteError
from tandem.routing.rule import Kind, unknown_engine
from tandem.routing.rules import Plan, Rules

__all__ = ["Decision", "Facts", "Step", "choose", "decide"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a decision rests on.

    `task` is the dotted name, `key` what places it in a percentage (idempotency key or execution id), `pinned` the
    engine of `.using(engine=)`, `requires` the capabilities the task or the call asks for, `configured` each engine
    with the capabilities it supports, the first being preferred where rules leave a choice.
    `queue` and `priority` decide nothing; `explain` speaks of them.
    """

    task: str
    key: str
    configured: Mapping[str, frozenset[str]]
    requires: frozenset[str] = frozenset()
    pinned: str | None = None
    parent_engine: str | None = None
    queue: str = "default"
    priority: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The engine, why, and whether a kill switch holds the row back, until a person retries it.

    Reasons: `the call asked for it`, `its parent runs there`, `pin rule PATTERN (SOURCE)`, `25% rule PATTERN (SOURCE)`,
    `default`. Before it, what turned that choice away: `kill switch on ENGINE: REASON` or `ENGINE lacks CAPABILITY: REASON`.
    """

    engine: str
    reason: str
    held: bool = False


class Step(StrEnum):
    """What chose the engine, before a kill switch or a missing capability turned it away."""

    USING = "using"
    PARENT = "parent"
    PIN = "pin"
    PERCENTAGE = "percentage"
    DEFAULT = "default"


def decide(facts: Facts, rules: Rules) -> Decision:
    """Choose the engine of a new row.

    - `.using(engine=)`, then the parent's engine, then rules: pin, percentage, default.
    - A kill switch turns unpinned rows away to another engine that can serve them, or holds them when there is none;
      rows pinned by `.using` or by a rule are held. A child follows its parent even to an engine that is killed.
    - An engine that cannot serve: pinned to it (or a child of it) is a `RouteError`; a percentage to it does not
      count; the default gives way to the first engine that can, and where none can, it is a `RouteError` too.
    """
    plan = rules.plan(facts.task)
    step, engine, reason = choose(facts, plan)
    missing = lacks(facts, engine)
    if missing:
        capable = [name for name in facts.configured if not lacks(facts, name)]
        if step is not Step.DEFAULT or not capable:
            raise RouteError(_refusal(facts, step, engine, reason, capable))
        engine, reason = capable[0], f"{engine} {missing}: {reason}"
    if engine not in rules.kills or engine == facts.parent_engine:
        return Decision(engine=engine, reason=reason)
    reason = f"kill switch on {engine}: {reason}"
    if step in {Step.PERCENTAGE, Step.DEFAULT}:
        for name in (plan.rest.engine, *facts.configured):
            if name not in rules.kills and not lacks(facts, name):
                return Decision(engine=name, reason=reason)
    return Decision(engine=engine, reason=reason, held=True)


def choose(facts: Facts, plan: Plan) -> tuple[Step, str, str]:
    """Answer what the call, the parent and the rules ask for, kill switches aside: step, engine, reason."""
    if facts.pinned is not None:
        return Step.USING, facts.pinned, "the call asked for it"
    if facts.parent_engine is not None:
        return Step.PARENT, facts.parent_engine, "its parent runs there"
    share, rest = plan.share, plan.rest
    if share is not None and plan.bucket(facts.key) < plan.threshold and not lacks(facts, share.engine):
        return Step.PERCENTAGE, share.engine, plan.share_label
    return Step.PIN if rest.kind is Kind.PIN else Step.DEFAULT, rest.engine, plan.rest_label


def lacks(facts: Facts, engine: str) -> str:
    """Answer why an engine cannot serve, such as `lacks workflow`; empty when it can."""
    supported = facts.configured.get(engine)
    if supported is None:
        return "is not configured"
    if facts.requires <= supported:
        return ""
    return f"lacks {', '.join(sorted(facts.requires - supported))}"


def _refusal(facts: Facts, step: Step, engine: str, reason: str, capable: list[str]) -> str:
    subject = f"Task {facts.task!r} cannot run on {engine!r} ({reason})"
    if engine not in facts.configured and (step is not Step.DEFAULT or not facts.configured):
        return unknown_engine(engine, facts.configured, subject)
    if not capable:
        listed = "; ".join(f"{name} {lacks(facts, name)}" for name in facts.configured)
        return f"{subject}, nor on any other configured engine: {listed}. Configure an engine that has it."
    way_out = "name it with .using(engine=)" if step is Step.PARENT else "name it instead, or drop the pin"
    return f"{subject}, which {lacks(facts, engine)}. {', '.join(capable)} can: {way_out}."
