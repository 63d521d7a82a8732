"""What Prometheus reads of the registrar."""

from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["CALLS", "ERRORS", "FAILURES", "LAST", "REGISTRY", "SECONDS", "forget", "tell"]

PHASES: Final = ("Progressing", "Registering", "Refused", "Active", "Serving", "Draining", "Idle", "Retired")

REGISTRY: Final = CollectorRegistry()
_OBJECT: Final = ("namespace", "name")

CALLS: Final = Counter("registrar_api_calls", "Requests to an API.", ("api",), registry=REGISTRY)
ERRORS: Final = Counter("registrar_reconcile_errors", "Passes that ended in an error.", _OBJECT, registry=REGISTRY)
FAILURES: Final = Counter(
    "registrar_registration_failures", "Registrations that failed.", (*_OBJECT, "reason"), registry=REGISTRY
)
LAST: Final = Gauge(
    "registrar_last_reconcile_timestamp_seconds", "When a pass last ended well.", _OBJECT, registry=REGISTRY
)
SECONDS: Final = Histogram("registrar_reconcile_seconds", "How long a pass took.", registry=REGISTRY)
_REVISIONS: Final = Gauge("registrar_revisions", "Revisions by phase.", (*_OBJECT, "phase"), registry=REGISTRY)
_PINNED: Final = Gauge(
    "registrar_pinned_invocations", "Invocations pinned to older revisions.", _OBJECT, registry=REGISTRY
)
_READY: Final = Gauge("registrar_ready", "Whether the wanted revision is the latest.", _OBJECT, registry=REGISTRY)


def tell(namespace: str, name: str, said: Mapping[str, Any]) -> None:
    """Show what a status says."""
    if "revisions" in said:
        for phase in PHASES:
            count = sum(item["phase"] == phase for item in said["revisions"])
            _REVISIONS.labels(namespace, name, phase).set(count)
        _PINNED.labels(namespace, name).set(said["pinned"])
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in said["conditions"])
    _READY.labels(namespace, name).set(ready)


def forget(namespace: str, name: str) -> None:
    """Stop telling of an object that is gone."""
    for metric in (ERRORS, FAILURES, LAST, _REVISIONS, _PINNED, _READY):
        metric.remove_by_labels({"namespace": namespace, "name": name})
