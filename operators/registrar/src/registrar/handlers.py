"""What kopf tells: objects and their Deployments came, changed or went. All the rest is the scheduler's.

kopf writes nothing: the finalizer, the status and the events are the controller's, so that they are decided in one
place, and an object carries no bookkeeping of the operator's in its annotations.
"""

from typing import Any, Final

import kopf

from registrar.health import Heartbeat
from registrar.revisions import GROUP, SERVICE
from registrar.scheduler import Scheduler

__all__ = ["listen", "settle"]

_VERSION: Final = "v1alpha1"
_PLURAL: Final = "restateservices"
_REQUEST_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 5.0
_WATCH_SECONDS: Final = 600


def settle(settings: kopf.OperatorSettings) -> None:
    """Set what kopf must know: no events of its own, no endless requests, only our Deployments."""
    settings.posting.enabled = False
    settings.networking.request_timeout = _REQUEST_SECONDS
    settings.networking.connect_timeout = _CONNECT_SECONDS
    settings.watching.connect_timeout = _CONNECT_SECONDS
    settings.watching.server_timeout = _WATCH_SECONDS
    settings.watching.label_selectors["apps", "v1", "deployments"] = SERVICE


def listen(registry: kopf.OperatorRegistry, scheduler: Scheduler, heartbeat: Heartbeat) -> None:
    """Have kopf wake the scheduler: created, updated, resumed and deleted objects are all looked at the same way."""
    fingerprints: dict[tuple[str, str], object] = {}

    @kopf.on.event(GROUP, _VERSION, _PLURAL, registry=registry)
    async def changed(event: kopf.RawEvent, namespace: str | None, name: str | None, **_: Any) -> None:
        key, metadata = (namespace or "", name or ""), event["object"]["metadata"]
        if event["type"] == "DELETED":
            heartbeat.lost(*key)
            fingerprints.pop(key, None)
            scheduler.wake(*key)
            return
        heartbeat.saw(*key, metadata["resourceVersion"])
        # Our own writes of the status come back as well, and change nothing of these.
        fingerprint = (metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp"))
        if fingerprints.get(key) != fingerprint:
            fingerprints[key] = fingerprint
            scheduler.wake(*key)

    @kopf.on.event("apps", "v1", "deployments", labels={SERVICE: kopf.PRESENT}, registry=registry)
    async def moved(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:
        scheduler.wake(namespace or "", labels[SERVICE])

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await scheduler.close()
