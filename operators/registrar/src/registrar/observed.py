"""What there is: the object, its revisions in Kubernetes and in Restate, and what the registrar said last."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from registrar.manifests import Owner

__all__ = [
    "Live",
    "Memory",
    "NotAllowed",
    "Observed",
    "Phase",
    "Pinned",
    "Registered",
    "Remembered",
    "Restate",
    "Unanswered",
    "Verdict",
    "Workload",
]

type Phase = Literal["Progressing", "Registering", "Refused", "Active", "Serving", "Draining", "Idle", "Retired"]
"""Wanted revisions are Progressing (no pods yet), Registering (pods, not the latest), Refused, then Active. Others are
Serving (still the latest, because the wanted one is not), Draining (something holds them), Idle (nothing does; the
delay runs) and Retired (deregistered, no pods, kept for a rollback)."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A Deployment. `ready`: its controller is satisfied with it and has a pod; `applied` is our digest."""

    applied: str | None
    uri: str
    replicas: int
    available: int
    ready: bool
    current: int = 0


@dataclass(frozen=True, kw_only=True)
class Live:
    """The objects of one revision that are there; digests of the Service and the ScaledObject, `None` when absent."""

    revision: str
    created: datetime
    workload: Workload | None = None
    service: str | None = None
    scaler: str | None = None
    trouble: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A deployment as Restate knows it."""

    id: str
    uri: str
    services: Sequence[str]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """The invocations that hold a deployment: how many, how many of them paused, and a few by name."""

    count: int
    paused: int
    examples: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Restate:
    """What Restate knows: deployments, the latest deployment id of each service, what is pinned by deployment id."""

    deployments: Sequence[Registered]
    latest: Mapping[str, str]
    pinned: Mapping[str, Pinned]


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """Restate's admin API did not answer, or not with sense; `gone`: the Service it is behind does not exist."""

    message: str
    gone: bool = False


@dataclass(frozen=True, kw_only=True)
class NotAllowed:
    """The object may not point where it does, so nothing was asked there."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """An action that failed.

    For good: `refused` by Restate, `rejected` by Kubernetes, or names `taken` by others. Perhaps not: `endpoint`, which
    Restate cannot reach, and `kubernetes`, which answered with an error.
    """

    kind: Literal["refused", "taken", "endpoint", "rejected", "kubernetes"]
    message: str


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """A revision as the last status had it; `since` is when it came into its phase."""

    name: str
    phase: Phase
    since: datetime
    deployment_id: str = ""
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The last status. Losing it costs time, nothing else."""

    observed_generation: int = 0
    revisions: Sequence[Remembered] = ()
    conditions: Sequence[Mapping[str, Any]] = ()
    latest: str = ""

    def of(self, name: str) -> Remembered | None:
        """What was said of one revision."""
        return next((item for item in self.revisions if item.name == name), None)

    def reason(self, kind: str) -> str:
        """The reason of a condition that was true, or an empty text."""
        found = next((item for item in self.conditions if item["type"] == kind and item["status"] == "True"), None)
        return str(found["reason"]) if found else ""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """All that a decision is made of, but the spec and the time.

    `keda`: its CRD is there. `present`: the objects of the namespace, where others have registrations too. `resync`: look whether somebody changed our objects, and ask again where Restate refused.
    """

    owner: Owner
    generation: int
    live: Sequence[Live]
    restate: Restate | Unanswered | NotAllowed
    finalizer: bool = True
    deleting_since: datetime | None = None
    memory: Memory = field(default_factory=Memory)
    keda: bool = True
    present: Collection[str] | None = None
    resync: bool = False
    silent_since: datetime | None = None
    retried: bool = False
    verdict: Verdict | None = None
