"""What the registrar says: the status with its conditions, and the events that come with a change of it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from registrar.actions import Event
from registrar.observed import Memory, Observed, Remembered
from registrar.revisions import REVISION, SERVICE
from registrar.situation import Finding, Situation, Standing
from registrar.specification import Elastic

__all__ = ["events", "failed_status", "hindered_status", "instant", "memory_of", "stamp", "status"]

_LONGEST_MESSAGE: Final = 4000
_WARNINGS: Final = frozenset(
    {
        "AdminUnreachable",
        "EndpointUnreachable",
        "InvalidSpecification",
        "KedaMissing",
        "LatestOfService",
        "KubernetesError",
        "NoPods",
        "NotAllowed",
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
            situation.observed.memory,
            situation.observed.generation,
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


def failed_status(observed: Observed, standing: Standing, now: datetime) -> Mapping[str, Any]:
    """Say why this object is not looked after as it should be; the rest of the status stays."""
    ready = ("Ready", standing.ready, standing.reason, standing.message)
    return {
        "observedGeneration": observed.generation,
        "conditions": _conditions(observed.memory, observed.generation, now, [ready, _stalled(standing)]),
    }


def hindered_status(memory: Memory, generation: int, message: str, now: datetime) -> Mapping[str, Any]:
    """Say that Kubernetes answered with an error, so that nothing else is known; what was known of this spec stays."""
    known = generation == memory.observed_generation
    said = {item["type"]: item for item in memory.conditions if known}
    if "Ready" not in said or said["Ready"]["status"] != "True":
        said["Ready"] = {"type": "Ready", "status": "False", "reason": "KubernetesError", "message": message}
    if "Stalled" not in said or said["Stalled"]["status"] != "True":
        said["Stalled"] = {"type": "Stalled", "status": "False", "reason": "KubernetesError", "message": message}
    wanted = [(item["type"], item["status"] == "True", item["reason"], item["message"]) for item in said.values()]
    # Nothing was decided: another spec still is one, at the next look.
    return {
        "observedGeneration": memory.observed_generation,
        "conditions": _conditions(memory, generation, now, wanted),
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
    stalled = next((item["reason"] for item in said["conditions"] if item["type"] == "Stalled"), "")
    for item in said["conditions"]:
        now = (item["status"], item["reason"])
        quiet = before.get(item["type"]) == now or item["reason"] in ("Registered", "Working")
        if quiet or (item["type"] in ("Draining", "Scaling") and item["reason"] not in (*_WARNINGS, "Pinned")):
            continue
        if item["type"] == "Ready" and item["reason"] == stalled:
            # Told of by that one, which alone warns: what is not Ready may yet be on its way.
            continue
        warned = item["reason"] in _WARNINGS and item["type"] != "Ready"
        kind: Literal["Normal", "Warning"] = "Warning" if warned else "Normal"
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


def _conditions(
    memory: Memory, generation: int, now: datetime, wanted: Sequence[tuple[str, bool, str, str]]
) -> Sequence[Condition]:
    before = {item["type"]: item for item in memory.conditions}
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
                "observedGeneration": generation,
            }
        )
    return found


def _stalled(standing: Standing) -> tuple[str, bool, str, str]:
    if standing.stalled:
        return "Stalled", True, standing.reason, standing.message
    if standing.hindrance:
        return "Stalled", False, *standing.hindrance
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
