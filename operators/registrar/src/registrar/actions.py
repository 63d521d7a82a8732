"""What a decision may ask for. The controller does them in order, and stops at the first that fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from registrar.claims import Claim
from registrar.manifests import Manifest

__all__ = [
    "Action",
    "AddFinalizer",
    "Apply",
    "Cancel",
    "Deregister",
    "Event",
    "Plan",
    "Register",
    "Remove",
    "RemoveFinalizer",
    "Scale",
    "brief",
]

type Kind = Literal["Deployment", "Service", "ScaledObject"]


@dataclass(frozen=True, kw_only=True)
class AddFinalizer:
    """Hold the object until Restate was told."""


@dataclass(frozen=True, kw_only=True)
class RemoveFinalizer:
    """Let the object go; its revisions go with it, by their owner references."""


@dataclass(frozen=True, kw_only=True)
class Apply:
    """Make an object as in the manifest, server-side."""

    manifest: Manifest


@dataclass(frozen=True, kw_only=True)
class Remove:
    """Delete an object; one that is not there is fine."""

    kind: Kind
    name: str


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Set a Deployment's number of pods."""

    name: str
    replicas: int


@dataclass(frozen=True, kw_only=True)
class Register:
    """Try a registration; do it if `claim` allows its names. `force` makes one that exists the latest again."""

    uri: str
    force: bool
    http1: bool = False
    additional_headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    claim: Claim


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """Cancel what is pinned to a deployment, each invocation once."""

    deployment_id: str


@dataclass(frozen=True, kw_only=True)
class Deregister:
    """Have Restate forget a deployment; one that it does not know is fine."""

    deployment_id: str


type Action = AddFinalizer | RemoveFinalizer | Apply | Remove | Scale | Register | Cancel | Deregister


@dataclass(frozen=True, kw_only=True)
class Event:
    """What `kubectl describe` should tell."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A decision: what to do, what to say once nothing is left to do, and when to look again, in seconds."""

    actions: Sequence[Action]
    status: Mapping[str, Any] | None
    again: float
    events: Sequence[Event] = ()


def brief(action: Action) -> str:
    """Say an action in one line, without its manifest."""
    match action:
        case Apply(manifest=manifest):
            return f"applied {manifest['kind']} {manifest['metadata']['name']}"
        case Remove(kind=kind, name=name):
            return f"removed {kind} {name}"
        case Scale(name=name, replicas=replicas):
            return f"scaled {name} to {replicas}"
        case Register(uri=uri, force=force):
            return f"registered {uri}{' again, as the latest' if force else ''}"
        case Deregister(deployment_id=id_):
            return f"deregistered {id_}"
        case Cancel(deployment_id=id_):
            return f"cancelled what is pinned to {id_}"
        case AddFinalizer():
            return "holds the object"
        case RemoveFinalizer():
            return "lets the object go"
