"""The whole decision: from what is asked for and what there is, to what is done next. No input or output."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from registrar.actions import Action, AddFinalizer, Plan, Register
from registrar.conditions import events, failed_status, instant, status
from registrar.deletion import delete
from registrar.observed import NotAllowed, Observed, Unanswered
from registrar.older import gone, older
from registrar.situation import Finding, Situation, Standing
from registrar.specification import InvalidSpecification, Specification
from registrar.wanted import wanted

__all__ = ["reconcile"]

# A Restate that lost its metadata is found out within this time.
_STEADY: Final = 30.0
_REFUSED: Final = 300.0
_MOVING: Final = 10.0
_SLOWEST_MOVING: Final = 30.0
_ADMIN_ERROR: Final = 30.0
# Parts that start, or start anew, find each other within this time; before, that they do not is nothing to warn of.
_PATIENCE: Final = 60.0
_PASSING: Final = frozenset({"AdminUnreachable", "EndpointUnreachable", "PodsUnavailable"})


def reconcile(specification: Specification | InvalidSpecification, observed: Observed, now: datetime) -> Plan:
    """Decide. Doing the actions and deciding again, until there are none, is what converges."""
    if observed.deleting_since is not None:
        return delete(specification, observed, observed.deleting_since, now)
    if not observed.finalizer:
        return Plan(actions=[AddFinalizer()], status=None, again=_MOVING)
    if isinstance(specification, InvalidSpecification):
        return _failed(observed, "InvalidSpecification", str(specification), now)
    if isinstance(observed.restate, NotAllowed):
        return _failed(observed, "NotAllowed", observed.restate.message, now)
    situation = Situation(specification=specification, observed=observed, now=now)
    finding, standing = wanted(situation)
    standing = _hindered(situation, standing)
    replaced = finding.phase == "Active"
    others = [item for revision in situation.others if (item := older(situation, revision, replaced=replaced))]
    kept, forgotten = _history(situation, others)
    findings = [finding, *kept]
    said = status(situation, findings, standing)
    return Plan(
        actions=_in_order([action for item in (*findings, *forgotten) for action in item.actions]),
        status=said,
        again=_again(situation, findings, standing),
        events=events(observed.memory, said),
    )


def _failed(observed: Observed, reason: str, message: str, now: datetime) -> Plan:
    standing = Standing(ready=False, reason=reason, message=message, stalled=True)
    said = failed_status(observed, standing, now)
    return Plan(actions=(), status=said, again=_STEADY, events=events(observed.memory, said))


def _hindered(situation: Situation, standing: Standing) -> Standing:
    """Add what is wrong though nothing is stalled: an error of Kubernetes, or that parts have not met for too long."""
    observed = situation.observed
    if (verdict := observed.verdict) and verdict.kind == "kubernetes":
        standing = replace(standing, hindrance=("KubernetesError", verdict.message))
        if standing.ready or standing.stalled:
            return standing
        return replace(standing, reason="KubernetesError", message=verdict.message)
    before = next((item for item in observed.memory.conditions if item["type"] == "Ready"), None)
    if standing.reason not in _PASSING or before is None or before["status"] != "False":
        return standing
    patience = _PATIENCE if observed.memory.latest else situation.specification.progress_deadline
    overdue = (situation.now - instant(before["lastTransitionTime"])).total_seconds() >= patience
    return replace(standing, hindrance=(standing.reason, standing.message)) if overdue else standing


def _history(situation: Situation, others: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Part what stays from the retired revisions beyond the history limit, which are deleted."""
    kept: list[Finding] = []
    forgotten: list[Finding] = []
    retired = 0
    for item in others:
        if item.phase != "Retired":
            kept.append(item)
        elif item.actions:
            # On its way out already.
            forgotten.append(item)
        elif retired < situation.specification.history_limit:
            retired += 1
            kept.append(item)
        else:
            forgotten.append(
                Finding(
                    name=item.name,
                    revision=item.revision,
                    phase="Retired",
                    since=item.since,
                    actions=gone(situation, situation.live.get(item.revision)),
                )
            )
    return kept, forgotten


def _in_order(actions: Sequence[Action]) -> Sequence[Action]:
    """Put a registration last: when it is refused, everything else has been done."""
    return sorted(actions, key=lambda action: isinstance(action, Register))


def _again(situation: Situation, findings: Sequence[Finding], standing: Standing) -> float:
    if isinstance(situation.observed.restate, Unanswered):
        return _ADMIN_ERROR
    refused = standing.stalled and standing.reason in ("Refused", "Rejected")
    waits = [_REFUSED if refused else _STEADY]
    if not standing.ready and not refused and standing.reason != "ServiceTaken":
        waits.append(_MOVING)
    for item in findings[1:]:
        if item.phase in ("Draining", "Idle"):
            # What has been held for long will hardly be let go within seconds.
            elapsed = (situation.now - item.since).total_seconds()
            waits.append(min(_SLOWEST_MOVING, max(_MOVING, elapsed / 10)))
    return min(waits)
