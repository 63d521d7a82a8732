"""What a deletion waits for, and what it leaves behind."""

from datetime import datetime
from typing import Final

from registrar.actions import Action, Cancel, Deregister, Event, Plan, RemoveFinalizer
from registrar.conditions import events, failed_status
from registrar.observed import NotAllowed, Observed, Pinned, Unanswered
from registrar.situation import Situation, Standing
from registrar.specification import InvalidSpecification, Specification

__all__ = ["DELETION_SECONDS", "delete"]

DELETION_SECONDS: Final = 60.0
"""For how long a deleted object waits for a Restate that does not answer."""

_AGAIN: Final = 5.0


def delete(
    specification: Specification | InvalidSpecification, observed: Observed, since: datetime, now: datetime
) -> Plan:
    """Have Restate forget what nothing is pinned to, and let the object go when its policy has no more to wait for."""
    if not observed.finalizer:
        return Plan(actions=(), status=None, again=_AGAIN)
    if isinstance(specification, InvalidSpecification):
        return _release(f"its spec cannot be used ({specification}): nothing was deregistered", observed)
    match observed.restate:
        case NotAllowed(message=message):
            return _release(f"nothing was deregistered ({message})", observed)
        case Unanswered(gone=True):
            return Plan(actions=[RemoveFinalizer()], status=None, again=_AGAIN)
        case Unanswered(message=message):
            # It may have waited for long before, for what is pinned; only the silence counts.
            if (now - max(since, observed.silent_since or now)).total_seconds() < DELETION_SECONDS:
                return Plan(actions=(), status=None, again=_AGAIN)
            left = f"Restate has not answered for {DELETION_SECONDS:.0f} s, its deployments may be left in it"
            return _release(f"{left} ({message})", observed)
    return _settle(Situation(specification=specification, observed=observed, now=now))


def _settle(situation: Situation) -> Plan:
    """Wait for what is pinned, cancel it, or leave it and its registration in Restate."""
    policy = situation.specification.deletion_policy
    pinned = {key: found for key, item in sorted(situation.own.items()) if (found := situation.pinned(item))}
    served = [key for key in pinned if (live := situation.live.get(key)) and live.workload]
    if served and policy != "LetGo":
        actions: list[Action] = []
        if policy == "Cancel":
            actions = [Cancel(deployment_id=situation.own[key].id) for key in served]
        message = ". ".join(_pinned(situation, key, pinned[key]) for key in served)
        way_out = "" if policy == "Cancel" else "Cancel cancels it, "
        standing = Standing(
            ready=False,
            reason="Deleting",
            message=f"spec.deletionPolicy is {policy}, so what is pinned is waited for: {message}. {way_out}LetGo leaves "
            f"it in Restate, for this RestateService to go on with when it is made again",
        )
        said = failed_status(situation.observed, standing, situation.now)
        return Plan(actions=actions, status=said, again=_AGAIN, events=events(situation.observed.memory, said))
    told = [
        Event(
            kind="Warning",
            reason="PinnedAtDeletion",
            message=f"{_pinned(situation, key, found)}. It stays registered: make this RestateService again as it was, "
            f"and they go on (resume those that are paused then); or kill them and remove the deployment from Restate",
        )
        for key, found in pinned.items()
    ]
    left = [Deregister(deployment_id=item.id) for key, item in sorted(situation.own.items()) if key not in pinned]
    return Plan(actions=[*left, RemoveFinalizer()], status=None, again=_AGAIN, events=told)


def _pinned(situation: Situation, revision: str, pinned: Pinned) -> str:
    rest = ", ..." if pinned.count > len(pinned.examples) else ""
    paused = f", {pinned.paused} of them paused (resume or kill those)" if pinned.paused else ""
    return (
        f"{pinned.count} invocation{'' if pinned.count == 1 else 's'} pinned to {situation.name(revision)}{paused}: "
        f"{', '.join(pinned.examples)}{rest}"
    )


def _release(why: str, observed: Observed) -> Plan:
    """Let it go without Restate, which is worth a word where something of it was registered there."""
    told = [Event(kind="Warning", reason="ReleasedWithoutRestate", message=f"The object is let go: {why}")]
    ever = any(item.deployment_id for item in observed.memory.revisions)
    return Plan(actions=[RemoveFinalizer()], status=None, again=_AGAIN, events=told if ever else ())
