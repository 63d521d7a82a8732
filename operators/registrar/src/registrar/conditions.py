"""What the registrar says: the status with its conditions, and the events that come with a change of it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from registrar.actions import Event
from registrar.observed import Memory, Observed, Remembered
from registrar.revisions import REVISION, SERVICE
from registrar.situation import Finding, Situation, Standing
from registrar.specification import Elastic

__all__ = ["events", "failed_status", "instant", "memory_of", "stamp", "status"]

_LONGEST_MESSAGE: Final = 4000
_WARNINGS: Final = frozenset(
    {
        "AdminUnreachable",
        "EndpointUnreachable",
        "InvalidSpecification",
        "KedaMissing",
        "LatestOfService",
        "NoPods",
        "Paused",
        "PodsUnavailable",
        "ProgressDeadlineExceeded",
        "Refused",
        "Rejected",
        "ServiceTaken",
    }
)

type Condition = dict[str, Any]


def stamp(moment: datetime) -> str:
    """Write a time as Kubernetes does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: str) -> datetime:
    """Read a time as Kubernetes writes it."""
    return datetime.fromisoformat(text)


def status(situation: Situation, findings: Sequence[Finding], standing: Standing) -> Mapping[str, Any]:
    """Say it all. Every field is there, `None` where it has no value, so that a merge patch clears it."""
    wanted, *others = findings
    serving = next((item for item in findings if item.phase in ("Active", "Serving")), None)
    live = situation.live.get(serving.revision if serving else wanted.revision)
    workload = live.workload if live else None
    owner = situation.observed.owner
    return {
        "observedGeneration": situation.observed.generation,
        "latestRevision": serving.name if serving else None,
        "deploymentId": serving.registered.id if serving and serving.registered else None,
        "replicas": workload.current if workload else 0,
        "selector": f"{SERVICE}={owner.name},{REVISION}={(serving or wanted).revision}",
        "pinned": sum(item.pinned.count for item in others if item.pinned),
        "conditions": _conditions(
            situation.observed,
            situation.now,
            [
                ("Ready", standing.ready, standing.reason, standing.message),
                _stalled(standing),
                _draining(situation, others),
                _scaling(situation),
            ],
        ),
        "revisions": [_revision(item) for item in findings],
    }


def failed_status(observed: Observed, *, reason: str, message: str, now: datetime) -> Mapping[str, Any]:
    """Say that this spec cannot be used; the rest of the status stays."""
    standing = Standing(ready=False, reason=reason, message=message, stalled=True)
    return {
        "observedGeneration": observed.generation,
        "conditions": _conditions(observed, now, [("Ready", False, reason, message), _stalled(standing)]),
    }


def memory_of(said: Mapping[str, Any]) -> Memory:
    """Read a status back; what is missing or strange in it is as if never said."""
    revisions = [
        Remembered(
            name=item["name"],
            phase=item["phase"],
            since=instant(item["since"]),
            deployment_id=item.get("deploymentId") or "",
            message=item.get("message") or "",
        )
        for item in said.get("revisions") or ()
        if {"name", "phase", "since"} <= item.keys()
    ]
    return Memory(
        observed_generation=said.get("observedGeneration") or 0,
        revisions=revisions,
        conditions=said.get("conditions") or (),
        latest=said.get("latestRevision") or "",
    )


def events(memory: Memory, said: Mapping[str, Any]) -> Sequence[Event]:
    """Tell of what changed since the last status: conditions by their reason, and which revision is the latest."""
    told: list[Event] = []
    before = {item["type"]: (item["status"], item["reason"]) for item in memory.conditions}
    for item in said["conditions"]:
        now = (item["status"], item["reason"])
        quiet = before.get(item["type"]) == now or item["type"] == "Stalled" or item["reason"] == "Registered"
        if quiet or (item["type"] in ("Draining", "Scaling") and item["reason"] not in (*_WARNINGS, "Pinned")):
            continue
        kind: Literal["Normal", "Warning"] = "Warning" if item["reason"] in _WARNINGS else "Normal"
        reason = "DrainBlocked" if item["type"] == "Draining" and kind == "Warning" else item["reason"]
        told.append(Event(kind=kind, reason=reason, message=item["message"]))
    if said.get("latestRevision") and said["latestRevision"] != memory.latest:
        message = f"{said['latestRevision']} is the latest in Restate, as {said['deploymentId']}"
        told.append(Event(kind="Normal", reason="Registered", message=message))
    if "revisions" in said:
        now_retired = {item["name"] for item in said["revisions"] if item["phase"] == "Retired"}
        was_held = {item.name for item in memory.revisions if item.phase != "Retired"}
        told += [
            Event(
                kind="Normal", reason="Retired", message=f"{name} is deregistered and has no pods; kept for a rollback"
            )
            for name in sorted(now_retired & was_held)
        ]
    return told


def _conditions(observed: Observed, now: datetime, wanted: Sequence[tuple[str, bool, str, str]]) -> Sequence[Condition]:
    before = {item["type"]: item for item in observed.memory.conditions}
    found = []
    for kind, true, reason, message in wanted:
        value = "True" if true else "False"
        old = before.get(kind)
        changed = old["lastTransitionTime"] if old and old["status"] == value else stamp(now)
        found.append(
            {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": message[:_LONGEST_MESSAGE],
                "lastTransitionTime": changed,
                "observedGeneration": observed.generation,
            }
        )
    return found


def _stalled(standing: Standing) -> tuple[str, bool, str, str]:
    if standing.stalled:
        return "Stalled", True, standing.reason, standing.message
    return "Stalled", False, "Working", "Nothing but time, or another part's recovery, is waited for"


def _draining(situation: Situation, others: Sequence[Finding]) -> tuple[str, bool, str, str]:
    """Name what holds older revisions, the worst reason first."""
    held = [item for item in others if item.phase == "Draining"]
    if situation.restate is None and held:
        return "Draining", True, "Unknown", "What holds the older revisions is not known while Restate does not answer"
    if held:
        return "Draining", True, _why(situation, held), ". ".join(item.blocks for item in held)
    if idle := [item for item in others if item.phase == "Idle"]:
        delay = timedelta(seconds=situation.specification.drain_delay)
        message = ", ".join(f"{item.name} at {stamp(item.since + delay)}" for item in idle)
        return "Draining", True, "DrainDelay", f"Nothing holds these; they are let go: {message}"
    return "Draining", False, "Drained", "Nothing is pinned to an older revision"


def _why(situation: Situation, held: Sequence[Finding]) -> str:
    if any(item.pinned and item.pinned.paused for item in held):
        return "Paused"
    if any((live := situation.live.get(item.revision)) is None or live.workload is None for item in held):
        return "NoPods"
    return "Pinned" if any(item.pinned for item in held) else "LatestOfService"


def _scaling(situation: Situation) -> tuple[str, bool, str, str]:
    form = situation.specification.scaling
    if not isinstance(form, Elastic):
        return "Scaling", True, "Fixed", f"{form.replicas} pods, as spec.scaling.replicas says"
    if situation.observed.keda:
        return "Scaling", True, "Keda", f"KEDA scales from {form.minimum} to {form.maximum} pods"
    return (
        "Scaling",
        False,
        "KedaMissing",
        f"Without KEDA (ScaledObject, keda.sh): {max(1, form.minimum)} pods. Install it, or set spec.scaling.replicas",
    )


def _revision(finding: Finding) -> Mapping[str, Any]:
    return {
        "name": finding.name,
        "deploymentId": finding.registered.id if finding.registered else "",
        "endpoint": finding.uri,
        "phase": finding.phase,
        "pinned": finding.pinned.count if finding.pinned else 0,
        "since": stamp(finding.since),
        "message": (finding.message or finding.blocks)[:_LONGEST_MESSAGE],
    }
