"""Revisions that the spec no longer asks for: kept while anything holds them, then let go in the right order."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from registrar.actions import Action, Deregister, Remove
from registrar.observed import Live, Phase
from registrar.scaling import Role, closing, scaling
from registrar.situation import Finding, Situation

__all__ = ["gone", "older"]

_NEVER_SERVED: Final = ("Progressing", "Registering", "Refused")


def older(situation: Situation, revision: str, *, replaced: bool) -> Finding | None:
    """Decide on a revision that is not wanted; `replaced`: the wanted one is the latest. `None`: nothing is left of it.

    Its phase follows from facts; the last status adds only for how long nothing has held it.
    """
    before, live = situation.before(revision), situation.live.get(revision)
    registered = situation.own.get(revision)
    finding = Finding(
        name=situation.name(revision),
        revision=revision,
        phase=before.phase if before else "Draining",
        since=before.since if before else situation.now,
        uri=registered.uri if registered else live.workload.uri if live and live.workload else "",
        registered=registered,
        pinned=situation.pinned(registered),
    )
    if situation.restate is None:
        return finding
    held = situation.holds(registered)
    stranded = live is None or live.workload is None
    if held and not replaced:
        return _kept(situation, replace(finding, phase="Serving"), live)
    # What has no pods, and never will again, serves no new calls either.
    if finding.pinned or (held and not stranded):
        return _kept(situation, replace(finding, phase="Draining", blocks=_blocks(finding, live, held)), live)
    if registered is None and (stranded or finding.phase in _NEVER_SERVED):
        actions = gone(situation, live)
        return replace(finding, phase="Retired", actions=actions) if actions else None
    return _unheld(situation, finding, live)


def gone(situation: Situation, live: Live | None) -> Sequence[Action]:
    """Delete what is left of a revision; the Deployment last, for it is what the rest is found by."""
    if live is None:
        return ()
    name = situation.name(live.revision)
    actions: list[Action] = []
    if live.scaler is not None:
        actions.append(Remove(kind="ScaledObject", name=name))
    if live.service is not None:
        actions.append(Remove(kind="Service", name=name))
    if live.workload is not None:
        actions.append(Remove(kind="Deployment", name=name))
    return actions


def _kept(situation: Situation, finding: Finding, live: Live | None) -> Finding:
    finding = replace(finding, since=situation.since(finding.revision, finding.phase))
    role: Role = "serving" if finding.phase == "Serving" else "draining"
    return replace(finding, actions=scaling(situation, live, role) if live else ())


def _unheld(situation: Situation, finding: Finding, live: Live | None) -> Finding:
    """Nothing holds it: after the delay Restate forgets it, then its pods go, and never the other way round."""
    asleep = live is None or (live.scaler is None and not (live.workload and live.workload.replicas))
    phase: Phase = "Idle"
    if finding.registered is None and asleep and finding.phase in ("Idle", "Retired"):
        phase = "Retired"
    since = situation.since(finding.revision, phase)
    finding = replace(finding, phase=phase, since=since)
    if phase == "Retired":
        return finding
    due = (situation.now - since).total_seconds() >= situation.specification.drain_delay
    if finding.registered is None:
        return replace(finding, actions=closing(situation, live) if due and live else ())
    if due:
        return replace(finding, actions=[Deregister(deployment_id=finding.registered.id)])
    return replace(finding, actions=scaling(situation, live, "draining") if live else ())


def _blocks(finding: Finding, live: Live | None, held: Sequence[str]) -> str:
    parts = []
    if pinned := finding.pinned:
        count = f"{pinned.count} invocation{'' if pinned.count == 1 else 's'}"
        paused = f", {pinned.paused} of them paused (resume, cancel or kill those)" if pinned.paused else ""
        rest = ", ..." if pinned.count > len(pinned.examples) else ""
        parts.append(f"{count} pinned to it{paused}: {', '.join(pinned.examples)}{rest}")
    if held:
        parts.append(
            f"it is the latest that has {', '.join(held)}, which the wanted revision lacks (put it back, or remove "
            f"deployment {finding.registered.id if finding.registered else ''} from Restate when nobody calls it)"
        )
    if live is None or live.workload is None:
        parts.append("its Deployment is gone, so nothing can serve it (cancel or kill what is pinned)")
    return f"{finding.name}: {'; '.join(parts)}"
