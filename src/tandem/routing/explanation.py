"""A decision in words, step by step."""

from tandem.exceptions import RouteError
from tandem.routing.decision import Facts, Step, choose, decide, lacks
from tandem.routing.rule import Kind, Rule
from tandem.routing.rules import BUCKETS, Plan, Rules

__all__ = ["explain"]


def explain(facts: Facts, rules: Rules) -> list[str]:
    """Walk the order of the decision, a line per step: what it says, and whether it passed, decides or is not asked.

    A step that is turned away chose an engine that is killed or cannot serve. The last lines are the decision, or the
    error that `enqueue` would raise, and what the engine leaves unheeded.
    """
    plan = rules.plan(facts.task)
    chosen, wanted, _ = choose(facts, plan)
    try:
        decision = decide(facts, rules)
    except RouteError as error:
        return [*_steps(facts, rules, plan, chosen, "refused"), f"error: {error}"]
    lines = _steps(facts, rules, plan, chosen, "decides" if decision.engine == wanted else "turned away")
    held = ", held until the kill switch is lifted" if decision.held else ""
    lines.append(f"decision: {decision.engine}{held} ({decision.reason})")
    unheeded = [f"queue {facts.queue!r}"] if facts.queue != "default" else []
    unheeded += [f"priority {facts.priority}"] if facts.priority else []
    if unheeded and "queues" not in facts.configured[decision.engine]:
        lines.append(f"note: {decision.engine} has no queues or priorities: {' and '.join(unheeded)} will not count")
    return lines


def _steps(facts: Facts, rules: Rules, plan: Plan, chosen: Step, outcome: str) -> list[str]:
    kills = "; ".join(f"{engine} ({_by(rule)})" for engine, rule in rules.kills.items()) or "none"
    if facts.parent_engine in rules.kills:
        kills += "; a child of what was sent still follows its parent"
    steps = {
        Step.USING: "not given" if facts.pinned is None else f"engine {facts.pinned}",
        Step.PARENT: "no parent" if facts.parent_engine is None else f"runs on {facts.parent_engine}",
        Step.PIN: _pin(plan),
        Step.PERCENTAGE: _percentage(facts, plan),
        Step.DEFAULT: f"{rules.default.engine} ({_by(rules.default)})",
    }
    order = list(steps)
    if plan.share is not None:  # A pin below a percentage only takes what it leaves.
        order[2:4] = [Step.PERCENTAGE, Step.PIN]
    decided = order.index(chosen)
    outcomes = ["passed"] * decided + [outcome] + ["not asked"] * (len(order) - decided - 1)
    lines = [f"kill switch: {kills}", f"can serve: {_capabilities(facts)}"]
    return lines + [f"{step.value}: {steps[step]}: {said}" for step, said in zip(order, outcomes, strict=True)]


def _capabilities(facts: Facts) -> str:
    needs = ", ".join(sorted(facts.requires)) or "nothing special"
    engines = "; ".join(f"{name} {lacks(facts, name) or 'can'}" for name in facts.configured)
    return f"needs {needs}; {engines or 'no engine is configured'}"


def _pin(plan: Plan) -> str:
    return f"{plan.rest.engine}, {plan.rest_label}" if plan.rest.kind is Kind.PIN else "no pin rule for this task"


def _percentage(facts: Facts, plan: Plan) -> str:
    if plan.share is None:
        return "no percentage for this task"
    engine, bucket = plan.share.engine, plan.bucket(facts.key)
    where = "below" if bucket < plan.threshold else "not below"
    cannot = lacks(facts, engine)
    return (
        f"{engine}, {plan.share_label}: key {facts.key!r} is in bucket {bucket} of {BUCKETS}, {where} {plan.threshold}"
        + (f", but {engine} {cannot}" if cannot else "")
    )


def _by(rule: Rule) -> str:
    time = f"{rule.created_at:%Y-%m-%d %H:%M %Z}".strip() if rule.created_at else ""
    return ", ".join(filter(None, (rule.origin, time, rule.reason)))
