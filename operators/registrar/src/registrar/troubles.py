"""Why a revision has no pods that serve: the words of Kubernetes and of the containers themselves."""

from collections.abc import Sequence
from typing import Any, Final

from registrar.manifests import Manifest

__all__ = ["troubles"]

_MOST: Final = 3
_LONGEST: Final = 600
_HARMLESS: Final = frozenset({"PodInitializing", "ContainerCreating"})


def troubles(deployment: Manifest, pods: Sequence[Manifest]) -> Sequence[str]:
    """Name up to three pods with what holds them, and what keeps the Deployment from making any."""
    found = [
        f"{item.get('reason', 'ReplicaFailure')}: {item.get('message', '')}"[:_LONGEST]
        for item in (deployment.get("status") or {}).get("conditions") or ()
        if item["type"] == "ReplicaFailure" and item["status"] == "True"
    ]
    found += [
        f"pod {pod['metadata']['name']}: {reason}"[:_LONGEST]
        for pod in sorted(pods, key=lambda item: str(item["metadata"]["name"]))
        if (reason := _of_pod(pod))
    ]
    return found[:_MOST]


def _of_pod(pod: Manifest) -> str:
    status = pod.get("status") or {}
    for kind, name in (("init container", "initContainerStatuses"), ("container", "containerStatuses")):
        for container in status.get(name) or ():
            if reason := _of_container(container):
                return f"{kind} {container['name']}: {reason}"
    if status.get("reason"):
        return f"{status['reason']}: {status.get('message', '')}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return f"{condition.get('reason', 'not scheduled')}: {condition.get('message', '')}"
    running = [item["name"] for item in status.get("containerStatuses") or () if not item.get("ready")]
    return f"not ready: {', '.join(running)}" if running and status.get("phase") == "Running" else ""


def _of_container(container: dict[str, Any]) -> str:
    """What a container waits for, or said when it ended; the message of an end says most."""
    state, last = container.get("state") or {}, container.get("lastState") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or last.get("terminated") or {}
    parts = []
    if (reason := waiting.get("reason")) and reason not in _HARMLESS:
        parts.append(f"{reason}: {waiting['message']}" if waiting.get("message") and not ended else reason)
    if ended.get("exitCode") and (parts or state.get("terminated")):
        said = str(ended.get("message") or "").strip()
        parts.append(said or f"it ended with code {ended['exitCode']} ({ended.get('reason', 'Error')})")
    return ": ".join(parts)
