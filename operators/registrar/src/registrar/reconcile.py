"""The whole decision: from what is asked for and what there is, to what is done next. No input or output."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from registrar.actions import Action, AddFinalizer, Deregister, Event, Plan, Register, RemoveFinalizer
from registrar.conditions import events, failed_status, status
from registrar.observed import Observed, Unanswered
from registrar.older import gone, older
from registrar.situation import Finding, Situation, Standing
from registrar.specification import InvalidSpecification, Specification
from registrar.wanted import wanted

__all__ = ["DELETION_SECONDS", "reconcile"]

DELETION_SECONDS: Final = 60.0
"""For how long a deleted object waits for a Restate that does not answer."""

# A Restate that lost its metadata is found out within this time.
_STEADY: Final = 30.0
_REFUSED: Final = 300.0
_MOVING: Final = 10.0
_SLOWEST_MOVING: Final = 30.0
_ADMIN_ERROR: Final = 30.0
_DELETING: Final = 5.0


def reconcile(specification: Specification | InvalidSpecification, observed: Observed, now: datetime) -> Plan:
    """Decide. Doing the actions and deciding again, until there are none, is what converges."""
    if observed.deleting_since is not None:
        return _delete(specification, observed, observed.deleting_since, now)
    if not observed.finalizer:
        return Plan(actions=[AddFinalizer()], status=None, again=_MOVING)
    if isinstance(specification, InvalidSpecification):
        said = failed_status(observed, reason="InvalidSpecification", message=str(specification), now=now)
        return Plan(actions=(), status=said, again=_STEADY, events=events(observed.memory, said))
    situation = Situation(specification=specification, observed=observed, now=now)
    finding, standing = wanted(situation)
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
    if not standing.ready and not refused:
        waits.append(_MOVING)
    for item in findings[1:]:
        if item.phase in ("Draining", "Idle"):
            # What has been held for long will hardly be let go within seconds.
            elapsed = (situation.now - item.since).total_seconds()
            waits.append(min(_SLOWEST_MOVING, max(_MOVING, elapsed / 10)))
    return min(waits)


def _delete(
    specification: Specification | InvalidSpecification, observed: Observed, since: datetime, now: datetime
) -> Plan:
    """Have Restate forget all revisions, then let the object go; without Restate after a minute all the same."""
    if not observed.finalizer:
        return Plan(actions=(), status=None, again=_STEADY)
    if isinstance(specification, InvalidSpecification):
        return _release(f"its spec cannot be used ({specification}): nothing was deregistered")
    situation = Situation(specification=specification, observed=observed, now=now)
    if isinstance(observed.restate, Unanswered):
        if (now - since).total_seconds() >= DELETION_SECONDS:
            return _release(
                f"Restate has not answered for {DELETION_SECONDS:.0f} s, its deployments may be left in it "
                f"({observed.restate.message})"
            )
        return Plan(actions=(), status=None, again=_DELETING)
    if not situation.own:
        return Plan(actions=[RemoveFinalizer()], status=None, again=_STEADY)
    told = [
        Event(
            kind="Warning",
            reason="PinnedAtDeletion",
            message=f"{situation.name(revision)} is deregistered with {pinned.count} invocations pinned to it: "
            f"{', '.join(pinned.examples)}",
        )
        for revision, registered in sorted(situation.own.items())
        if (pinned := situation.pinned(registered))
    ]
    actions = [Deregister(deployment_id=item.id) for _, item in sorted(situation.own.items())]
    return Plan(actions=actions, status=None, again=_DELETING, events=told)


def _release(why: str) -> Plan:
    event = Event(kind="Warning", reason="ReleasedWithoutRestate", message=f"The object is let go: {why}")
    return Plan(actions=[RemoveFinalizer()], status=None, again=_STEADY, events=[event])
