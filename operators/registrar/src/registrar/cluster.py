"""The few requests to Kubernetes, and what the objects that come back mean."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from registrar.actions import Event
from registrar.conditions import instant, stamp
from registrar.manifests import APPLIED, ENDPOINT, Manifest
from registrar.observed import Live, Workload
from registrar.revisions import GROUP, REVISION, SERVICE
from registrar.transport import Answer, Request, Send
from registrar.troubles import troubles

__all__ = ["FINALIZER", "Cluster", "ClusterError", "Conflict", "Rejected"]

FINALIZER: Final = f"{GROUP}/registrar"

_MANAGER: Final = "tandem-registrar"
_KINDS: Final[Mapping[str, str]] = {
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "ScaledObject": "/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "Event": "/api/v1/namespaces/{namespace}/events",
    "RestateService": f"/apis/{GROUP}/v1alpha1/namespaces/{{namespace}}/restateservices",
}
_MERGE: Final = {"Content-Type": "application/merge-patch+json"}
# Kubernetes reads it as YAML, of which JSON is a part.
_APPLY: Final = {"Content-Type": "application/apply-patch+yaml"}
_NOT_FOUND: Final = 404
_FORBIDDEN: Final = 403
_CONFLICT: Final = 409
_FOR_GOOD: Final = frozenset({400, _FORBIDDEN, 422})
# A field that there is not: no answer of the API server's own kind, but an error of its server-side apply, with 500.
_NOT_TYPED: Final = "failed to create typed patch object"


class ClusterError(Exception):
    """Kubernetes answered with an error; the message has its words. It may be over the next time."""


class Conflict(ClusterError):
    """Somebody else changed the object meanwhile: look again, and decide anew."""


class Rejected(ClusterError):
    """Kubernetes will not take an object as it is: invalid, forbidden, or over a quota."""


class Cluster:
    """Kubernetes, by the base URL of its API. Every method raises `ClusterError` or `Unreachable`."""

    def __init__(self, url: str, send: Send) -> None:
        self._url = url.rstrip("/")
        self._send = send

    async def read(self, namespace: str, name: str) -> Manifest | None:
        """Read one `RestateService`, or `None`."""
        answer = await self._ask("GET", "RestateService", namespace, name)
        return None if answer.status == _NOT_FOUND else dict(_checked(answer, f"RestateService {name}"))

    async def service(self, namespace: str, name: str, *, foreign: bool) -> Manifest | None:
        """Read one Service, or `None` where there is none; a foreign one that may not be seen is none, too."""
        answer = await self._ask("GET", "Service", namespace, name)
        if answer.status == _NOT_FOUND or (foreign and answer.status == _FORBIDDEN):
            return None
        return dict(_checked(answer, f"Service {name}"))

    async def versions(self, namespace: str | None) -> Mapping[tuple[str, str], str]:
        """List the `RestateService`s by namespace and name with their resource versions; `None`: everywhere."""
        path = _KINDS["RestateService"].format(namespace=namespace)
        if namespace is None:
            path = path.replace("/namespaces/None", "")
        answer = _checked(await self._send(Request(method="GET", url=f"{self._url}{path}")), "RestateServices")
        return {
            (item["metadata"]["namespace"], item["metadata"]["name"]): item["metadata"]["resourceVersion"]
            for item in answer["items"]
        }

    async def present(self, namespace: str) -> Collection[str]:
        """List the names of the `RestateService`s of a namespace that are not being deleted."""
        answer = _checked(await self._ask("GET", "RestateService", namespace, ""), "RestateServices")
        found = (item["metadata"] for item in answer["items"])
        return frozenset(metadata["name"] for metadata in found if not metadata.get("deletionTimestamp"))

    async def revisions(self, namespace: str, name: str) -> tuple[Sequence[Live], bool]:
        """Find the objects of all revisions, and whether KEDA's kind is there at all."""
        deployments = await self._list("Deployment", namespace, f"{SERVICE}={name}")
        services = await self._list("Service", namespace, f"{SERVICE}={name}")
        scalers = await self._list("ScaledObject", namespace, f"{SERVICE}={name}")
        found = {
            kind: _by_revision(items or ()) for kind, items in (("d", deployments), ("s", services), ("k", scalers))
        }
        live = []
        for revision in sorted({key for items in found.values() for key in items}):
            deployment, service, scaler = (found[kind].get(revision) for kind in "dsk")
            trouble: Sequence[str] = ()
            workload = _workload(deployment) if deployment else None
            if deployment and workload and workload.replicas and not workload.available:
                pods = await self._list("Pod", namespace, f"{SERVICE}={name},{REVISION}={revision}")
                trouble = troubles(deployment, pods or ())
            live.append(
                Live(
                    revision=revision,
                    created=_created(deployment or service or scaler or {}),
                    workload=workload,
                    service=_applied(service),
                    scaler=_applied(scaler),
                    trouble=trouble,
                )
            )
        return live, scalers is not None

    async def apply(self, manifest: Manifest) -> None:
        """Make an object as in the manifest; what others own in it stays theirs. Raises `Rejected`."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        answer = await self._send(
            Request(
                method="PATCH",
                url=self._path(kind, metadata["namespace"], metadata["name"]),
                query={"fieldManager": _MANAGER, "force": "true"},
                headers=_APPLY,
                body=manifest,
            )
        )
        what = f"{kind} {metadata['name']}"
        if answer.status in _FOR_GOOD or (not answer.ok and _words(answer).startswith(_NOT_TYPED)):
            raise Rejected(f"Kubernetes rejects {what}: {_words(answer)}")
        _checked(answer, what)

    async def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object and what it owns; one that is not there is fine."""
        answer = await self._ask("DELETE", kind, namespace, name, {"propagationPolicy": "Background"})
        if answer.status != _NOT_FOUND:
            _checked(answer, f"{kind} {name}")

    async def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Set a Deployment's replicas, as another manager than the one that applies: applying must not reset them."""
        await self._merge("Deployment", namespace, name, {"spec": {"replicas": replicas}}, manager=f"{_MANAGER}-scale")

    async def set_finalizers(self, body: Manifest, finalizers: Sequence[str]) -> None:
        """Replace the finalizers of a `RestateService`, unless somebody else changed it meanwhile."""
        metadata = body["metadata"]
        patch = {"metadata": {"finalizers": list(finalizers), "resourceVersion": metadata["resourceVersion"]}}
        await self._merge("RestateService", metadata["namespace"], metadata["name"], patch, gone_is_fine=True)

    async def set_status(self, namespace: str, name: str, said: Mapping[str, Any]) -> None:
        """Write the status."""
        await self._merge("RestateService", namespace, f"{name}/status", {"status": said}, gone_is_fine=True)

    async def tell(self, body: Manifest, event: Event, now: datetime) -> bool:
        """Write an event of a `RestateService`; `False` where Kubernetes did not take it, as in a namespace that goes."""
        url = self._path("Event", body["metadata"]["namespace"], "")
        answer = await self._send(Request(method="POST", url=url, body=_event(body, event, now)))
        return answer.ok

    async def _list(self, kind: str, namespace: str, selector: str) -> Sequence[Manifest] | None:
        """List objects; `None` where Kubernetes does not know the kind."""
        answer = await self._ask("GET", kind, namespace, "", {"labelSelector": selector})
        if answer.status == _NOT_FOUND:
            return None
        items: Sequence[Manifest] = _checked(answer, f"{kind}s")["items"]
        return items

    async def _merge(
        self,
        kind: str,
        namespace: str,
        name: str,
        patch: Mapping[str, Any],
        *,
        manager: str = _MANAGER,
        gone_is_fine: bool = False,
    ) -> None:
        url = self._path(kind, namespace, name)
        request = Request(method="PATCH", url=url, query={"fieldManager": manager}, headers=_MERGE, body=patch)
        answer = await self._send(request)
        if not (gone_is_fine and answer.status == _NOT_FOUND):
            _checked(answer, f"{kind} {name}")

    async def _ask(
        self, method: str, kind: str, namespace: str, name: str, query: Mapping[str, str] | None = None
    ) -> Answer:
        return await self._send(Request(method=method, url=self._path(kind, namespace, name), query=query or {}))

    def _path(self, kind: str, namespace: str, name: str) -> str:
        return f"{self._url}{_KINDS[kind].format(namespace=namespace)}{f'/{name}' if name else ''}"


def _by_revision(items: Sequence[Manifest]) -> Mapping[str, Manifest]:
    labelled = ((item["metadata"].get("labels", {}).get(REVISION), item) for item in items)
    return {revision: item for revision, item in labelled if revision}


def _workload(deployment: Manifest) -> Workload:
    metadata, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    annotations = metadata.get("annotations") or {}
    available = status.get("availableReplicas") or 0
    satisfied = any(item["type"] == "Available" and item["status"] == "True" for item in status.get("conditions") or ())
    return Workload(
        applied=annotations.get(APPLIED),
        uri=annotations.get(ENDPOINT, ""),
        replicas=spec.get("replicas", 1),
        available=available,
        ready=satisfied and available > 0 and (status.get("observedGeneration") or 0) >= metadata.get("generation", 0),
        current=status.get("replicas") or 0,
    )


def _applied(item: Manifest | None) -> str | None:
    """The digest of an object; an empty one where somebody took it away."""
    return None if item is None else (item["metadata"].get("annotations") or {}).get(APPLIED, "")


def _created(item: Manifest) -> datetime:
    return instant(item["metadata"]["creationTimestamp"])


def _checked(answer: Answer, what: str) -> Any:
    if not answer.ok:
        error = Conflict if answer.status == _CONFLICT else ClusterError
        raise error(f"Kubernetes answers {answer.status} for {what}: {_words(answer)}")
    return answer.body


def _words(answer: Answer) -> str:
    if isinstance(answer.body, dict) and "message" in answer.body:
        return str(answer.body["message"])
    return str(answer.body)


def _event(body: Manifest, event: Event, now: datetime) -> dict[str, Any]:
    metadata = body["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "RestateService",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
        "type": event.kind,
        "reason": event.reason,
        # Kubernetes takes no longer ones.
        "message": event.message[:1024],
        "source": {"component": "tandem-registrar"},
        "reportingComponent": "tandem-registrar",
        "firstTimestamp": stamp(now),
        "lastTimestamp": stamp(now),
        "count": 1,
    }
