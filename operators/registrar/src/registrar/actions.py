"""What a decision may ask for. The controller does them in order, and stops at the first that fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from registrar.manifests import Manifest

__all__ = [
    "Action",
    "AddFinalizer",
    "Apply",
    "Deregister",
    "Event",
    "Plan",
    "Register",
    "Remove",
    "RemoveFinalizer",
    "Scale",
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
    """Try a registration, then do it. `force` makes one that exists the latest again."""

    uri: str
    force: bool
    http1: bool = False
    additional_headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Deregister:
    """Have Restate forget a deployment; one that it does not know is fine."""

    deployment_id: str


type Action = AddFinalizer | RemoveFinalizer | Apply | Remove | Scale | Register | Deregister


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
