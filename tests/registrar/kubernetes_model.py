"""Kubernetes in memory, as far as the registrar sees it: objects, their controllers, garbage collection and KEDA.

The registrar's own requests go through `send`. What people and other controllers do are plain methods; `tick` lets
the controllers act.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from registrar.conditions import stamp
from registrar.revisions import SERVICE
from registrar.transport import Answer, Request, Unreachable

__all__ = ["NAMESPACE", "KubernetesModel", "Manifest"]

type Manifest = dict[str, Any]
type Key = tuple[str, str]

NAMESPACE: Final = "shop-space"
URL: Final = "https://kubernetes"

_PATH: Final = re.compile(
    r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<kind>[a-z]+)(?:/(?P<name>[^/]+))?(?P<sub>/status)?"
)
_KINDS: Final = {
    "deployments": "Deployment",
    "services": "Service",
    "scaledobjects": "ScaledObject",
    "pods": "Pod",
    "events": "Event",
    "restateservices": "RestateService",
}


class KubernetesModel:
    """`work(uri)` is what KEDA reads for a revision; `registered(uri)` tells whether Restate knows it.

    `violations` collects what no registrar may ever do. `fail_after` has so many more requests succeed, then none.
    """

    def __init__(
        self, *, now: Callable[[], datetime], work: Callable[[str], int], registered: Callable[[str], bool]
    ) -> None:
        self.objects: dict[Key, Manifest] = {}
        self.events: list[Manifest] = []
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.keda = True
        self.fail_after: int | None = None
        self.broken_images: set[str] = set()
        self.unready: set[str] = set()
        self.deleting = False
        self.changes = 0
        selecting = {"metadata": {}, "spec": {"selector": {"app": "restate"}}}
        self.admin_services: dict[Key, Manifest] = {(NAMESPACE, "restate"): selecting}
        self._now, self._work, self._registered = now, work, registered
        self._version = 0

    async def send(self, request: Request) -> Answer:
        """Answer as the API server would."""
        if self.fail_after is not None:
            if self.fail_after == 0:
                raise Unreachable(f"{URL} does not answer")
            self.fail_after -= 1
        self.requests.append(request)
        match = _PATH.fullmatch(request.url.removeprefix(URL))
        assert match, request.url
        kind = _KINDS[match["kind"]]
        if kind == "ScaledObject" and not self.keda:
            return Answer(status=404, body="404 page not found")
        name = match["name"]
        if request.method == "GET" and kind == "Service" and name:
            found = self.admin_services.get((match["namespace"], name))
            return Answer(status=200, body=found) if found else Answer(status=404, body={"message": f"no {name}"})
        if request.method == "GET":
            return self._get(kind, name) if name else self._list(kind, request.query)
        if request.method == "POST":
            self.events.append(request.body)
            return Answer(status=201, body=request.body)
        if request.method == "DELETE":
            return self._delete(kind, name)
        assert request.method == "PATCH"
        if request.headers["Content-Type"] == "application/apply-patch+yaml":
            return self._apply(kind, name, request.body)
        return self._merge(kind, name, request.body, status=bool(match["sub"]))

    @property
    def writes(self) -> list[Request]:
        """The requests that change something."""
        return [item for item in self.requests if item.method != "GET"]

    def put(self, kind: str, name: str, manifest: Mapping[str, Any]) -> None:
        """Make an object, or change its spec, as a person would."""
        old = self.objects.get((kind, name))
        made = copy.deepcopy(dict(manifest))
        metadata = made.setdefault("metadata", {})
        if old:
            metadata |= {**old["metadata"], **metadata}
            changed = old["spec"] != made["spec"]
            metadata["generation"] = old["metadata"]["generation"] + changed
            made["status"] = old.get("status", {})
        else:
            metadata |= {
                "name": name,
                "namespace": NAMESPACE,
                "uid": f"uid-{self._version}",
                "generation": 1,
                "creationTimestamp": stamp(self._now()),
            }
        self._stored(kind, name, made)

    def take(self, kind: str, name: str) -> None:
        """Delete an object, as a person would."""
        if self.objects[kind, name]["metadata"].get("finalizers"):
            self.objects[kind, name]["metadata"].setdefault("deletionTimestamp", stamp(self._now()))
            return
        gone = self.objects.pop((kind, name))
        for key, item in list(self.objects.items()):
            owners = item["metadata"].get("ownerReferences", ())
            if any(owner["uid"] == gone["metadata"]["uid"] for owner in owners):
                self.objects.pop(key)

    def tick(self) -> None:
        """Let KEDA and the Deployment controller act."""
        for kind, name in list(self.objects):
            if kind == "ScaledObject" and self.keda and ("Deployment", name) in self.objects:
                self._scale_by_keda(self.objects[kind, name], self.objects["Deployment", name])
        for name, deployment in self.of("Deployment"):
            replicas = deployment["spec"].get("replicas", 1)
            image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
            ready = image not in self.broken_images and name not in self.unready
            available = replicas if ready else 0
            deployment["status"] = {
                "observedGeneration": deployment["metadata"]["generation"],
                "replicas": replicas,
                "availableReplicas": available,
                "conditions": [{"type": "Available", "status": "True" if available == replicas else "False"}],
            }

    def of(self, kind: str) -> Iterator[tuple[str, Manifest]]:
        """All objects of a kind."""
        return ((name, item) for (other, name), item in list(self.objects.items()) if other == kind)

    def available(self, uri: str) -> int:
        """The pods that serve a URI."""
        for name, item in self.of("Deployment"):
            if uri.startswith(f"http://{name}.") and ("Service", name) in self.objects:
                found: int = item.get("status", {}).get("availableReplicas", 0)
                return found
        return 0

    def image(self, uri: str) -> str:
        """What runs behind a URI."""
        found = (item for name, item in self.of("Deployment") if uri.startswith(f"http://{name}."))
        return next((str(item["spec"]["template"]["spec"]["containers"][0]["image"]) for item in found), "")

    def _scale_by_keda(self, scaler: Manifest, deployment: Manifest) -> None:
        spec = scaler["spec"]
        uri = deployment["metadata"]["annotations"]["tandem.dev/endpoint"]
        wanted = max(spec["minReplicaCount"], min(spec["maxReplicaCount"], self._work(uri)))
        if deployment["spec"].get("replicas", 1) != wanted:
            deployment["spec"]["replicas"] = wanted
            deployment["metadata"]["generation"] += 1

    def _get(self, kind: str, name: str) -> Answer:
        found = self.objects.get((kind, name))
        return Answer(status=200, body=found) if found else Answer(status=404, body={"message": f"no {kind} {name}"})

    def _list(self, kind: str, query: Mapping[str, str]) -> Answer:
        selector = dict(part.split("=") for part in query.get("labelSelector", "").split(",") if part)
        items = [item for _, item in self.of(kind) if selector.items() <= item["metadata"].get("labels", {}).items()]
        if kind == "Pod":
            items = self._pods(selector)
        return Answer(status=200, body={"items": items})

    def _pods(self, selector: Mapping[str, str]) -> list[Manifest]:
        waiting = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "name": "main", "ready": False}
        return [
            {"metadata": {"name": f"{name}-pod"}, "status": {"phase": "Running", "containerStatuses": [waiting]}}
            for name, item in self.of("Deployment")
            if selector.items() <= item["metadata"]["labels"].items()
        ]

    def _delete(self, kind: str, name: str) -> Answer:
        if (kind, name) not in self.objects:
            return Answer(status=404, body={"message": f"no {kind} {name}"})
        if kind == "Deployment" and not self.deleting:
            uri = self.objects[kind, name]["metadata"]["annotations"]["tandem.dev/endpoint"]
            if self._registered(uri):
                self.violations.append(f"{name} was deleted while it was registered")
        self.objects.pop((kind, name))
        self.changes += 1
        return Answer(status=200, body={})

    def _apply(self, kind: str, name: str, body: Manifest) -> Answer:
        old = self.objects.get((kind, name))
        made = copy.deepcopy(body)
        if old:
            if kind == "Deployment" and "replicas" in old["spec"]:
                made["spec"]["replicas"] = old["spec"]["replicas"]
            changed = made["spec"] != old["spec"]
            made["status"] = old.get("status", {})
            made["metadata"] = {**old["metadata"], **made["metadata"]}
            made["metadata"]["generation"] += changed
            if made == old:
                return Answer(status=200, body=old)
        else:
            made["metadata"] |= {
                "uid": f"uid-{self._version}",
                "generation": 1,
                "creationTimestamp": stamp(self._now()),
            }
            owner = body["metadata"]["labels"][SERVICE]
            assert ("RestateService", owner) in self.objects
        self.changes += 1
        self._stored(kind, name, made)
        return Answer(status=200, body=made)

    def _merge(self, kind: str, name: str, patch: Manifest, *, status: bool) -> Answer:
        found = self.objects.get((kind, name))
        if found is None:
            return Answer(status=404, body={"message": f"no {kind} {name}"})
        version = patch.get("metadata", {}).get("resourceVersion")
        if version not in (None, found["metadata"]["resourceVersion"]):
            return Answer(status=409, body={"message": "the object has been modified"})
        self.changes += 1
        if status:
            found["status"] = _merged(found.get("status", {}), patch["status"])
        elif "finalizers" in patch.get("metadata", {}):
            found["metadata"]["finalizers"] = patch["metadata"]["finalizers"]
        else:
            self._scaled(name, found, patch["spec"]["replicas"])
        self._stored(kind, name, found)
        if found["metadata"].get("deletionTimestamp") and not found["metadata"].get("finalizers"):
            self.take(kind, name)
        return Answer(status=200, body=found)

    def _scaled(self, name: str, deployment: Manifest, replicas: int) -> None:
        uri = deployment["metadata"]["annotations"]["tandem.dev/endpoint"]
        if replicas == 0 and self._registered(uri):
            self.violations.append(f"{name} lost its pods while it was registered")
        if self.keda and ("ScaledObject", name) in self.objects:
            self.violations.append(f"{name} was scaled to {replicas} while KEDA scales it")
        deployment["spec"]["replicas"] = replicas
        deployment["metadata"]["generation"] += 1

    def _stored(self, kind: str, name: str, made: Manifest) -> None:
        self._version += 1
        made["metadata"]["resourceVersion"] = str(self._version)
        self.objects[kind, name] = made


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(old) if isinstance(old, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged
