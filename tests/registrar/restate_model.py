"""Restate in memory: registrations, what is the latest, invocations and what they are pinned to."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from registrar.transport import Answer, Request, Unreachable

__all__ = ["Facts", "Invocation", "RestateModel"]

URL: Final = "http://restate.shop-space.svc:9070"

# An invocation whose attempts find no pod for so many ticks has used up its retries.
_RETRIES: Final = 40
_TICKS_TO_PIN: Final = 3


@dataclass(kw_only=True)
class Deployment:
    """A registration: the revision number that each of its services has."""

    id: str
    uri: str
    metadata: Mapping[str, str]
    revisions: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Deployments by id with their URIs and metadata, the latest of each service, the number pinned by deployment."""

    deployments: Mapping[str, str]
    metadata: Mapping[str, Mapping[str, str]]
    latest: Mapping[str, str]
    pinned: Mapping[str, int]


@dataclass(kw_only=True)
class Invocation:
    """A call that has not completed."""

    id: str
    service: str
    status: str = "running"
    pinned: str | None = None
    attempted: str | None = None
    failures: int = 0
    ticks: int = 0


class RestateModel:
    """`available(uri)` tells how many pods serve a URI, `services(uri)` what they say they serve, with the types.

    `violations` collects invocations that lost what they need without anybody having asked for it.
    """

    def __init__(self, *, available: Callable[[str], int], services: Callable[[str], Mapping[str, str]]) -> None:
        self.deployments: dict[str, Deployment] = {}
        self.invocations: dict[str, Invocation] = {}
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.down = False
        self.fail_after: int | None = None
        self.deleting = False
        self._available, self._services = available, services
        self._types: dict[str, str] = {}
        self._made = 0

    async def send(self, request: Request) -> Answer:
        """Answer as the admin API would."""
        if self.down or self.fail_after == 0:
            raise Unreachable(f"{request.url} does not answer")
        if self.fail_after is not None:
            self.fail_after -= 1
        self.requests.append(request)
        path = request.url.removeprefix(URL)
        if request.method == "PATCH":
            self.invocations.pop(path.split("/")[2], None)
            return Answer(status=202, body="")
        if request.method == "DELETE":
            return self._delete(path.rpartition("/")[2], forced=request.query.get("force") == "true")
        if path == "/query":
            return Answer(status=200, body={"rows": self._query(request.body["query"])})
        assert path == "/deployments", path
        if request.method == "GET":
            return Answer(status=200, body={"deployments": [_row(item) for item in self.deployments.values()]})
        return self._register(request.body)

    @property
    def latest(self) -> dict[str, str]:
        """The deployment that each service's new calls go to."""
        newest: dict[str, tuple[int, str]] = {}
        for item in self.deployments.values():
            for service, revision in item.revisions.items():
                newest[service] = max(newest.get(service, (0, "")), (revision, item.id))
        return {service: id_ for service, (_, id_) in newest.items()}

    def registered(self, uri: str) -> bool:
        """Whether a URI is registered."""
        return any(item.uri == uri for item in self.deployments.values())

    def work(self, uri: str) -> int:
        """The invocations that want pods of a URI, as the exporter counts them."""
        ids = {item.id for item in self.deployments.values() if item.uri == uri}
        return sum(
            (item.pinned or item.attempted) in ids
            for item in self.invocations.values()
            if item.status in ("running", "backing-off")
        )

    async def facts(self) -> Facts:
        """What is so now, whether or not the admin API answers."""
        return Facts(
            deployments={item.id: item.uri for item in self.deployments.values()},
            metadata={item.id: item.metadata for item in self.deployments.values()},
            latest=self.latest,
            pinned={id_: len(self.holders(id_)) for id_ in self.deployments},
        )

    async def start(self, service: str) -> None:
        """A caller sends an invocation; without a registration there is nobody to send it to."""
        if service in self.latest and not self.down:
            self._made += 1
            item = Invocation(id=f"inv_{self._made}", service=service)
            self.invocations[item.id] = item
            self._attempt(item)

    async def end(self, random: Random, share: float) -> None:
        """Some invocations complete, or are killed."""
        for id_ in list(self.invocations):
            if random.random() < share:
                self.invocations.pop(id_)

    async def pause(self, random: Random) -> None:
        """An invocation is paused, or all are resumed."""
        for item in self.invocations.values():
            item.status = "running" if item.status == "paused" else item.status
        if self.invocations and random.random() < 0.5:
            random.choice(list(self.invocations.values())).status = "paused"

    async def lose(self) -> None:
        """It comes back with an empty volume."""
        self.deployments.clear()
        self.invocations.clear()
        self._types.clear()

    async def tick(self) -> None:
        """Let every invocation that is not paused be tried again."""
        for item in self.invocations.values():
            if item.status != "paused":
                self._attempt(item)

    def holders(self, deployment_id: str) -> Sequence[Invocation]:
        """What holds a deployment."""
        return [
            item
            for item in self.invocations.values()
            if item.pinned == deployment_id
            or (item.pinned is None and item.status == "running" and item.attempted == deployment_id)
        ]

    def _attempt(self, item: Invocation) -> None:
        going_on = self.deployments.get(item.attempted or "") if item.status == "running" else None
        if going_on and not self._available(going_on.uri):
            going_on = None
        target = item.pinned or (going_on.id if going_on else self.latest.get(item.service))
        deployment = self.deployments.get(target or "")
        item.ticks = item.ticks + 1 if item.attempted == target and item.status == "running" else 0
        item.attempted = target
        if deployment is None:
            item.status = "paused" if item.pinned else "backing-off"
            if item.pinned:
                self.violations.append(f"{item.id} is pinned to {target}, which Restate was told to forget")
        elif self._available(deployment.uri):
            item.status, item.failures = "running", 0
            # The pin comes with the first answer, which may be a while after the attempt began.
            if item.ticks >= _TICKS_TO_PIN:
                item.pinned = target
        else:
            item.status = "backing-off"
            item.failures += 1
            if item.failures >= _RETRIES:
                item.status = "paused"
                self.violations.append(f"{item.id} is pinned to {target}, which has no pods for good")

    def _register(self, body: Mapping[str, Any]) -> Answer:
        uri = body["uri"]
        if not self._available(uri):
            message = f"[META0003] error when calling '{uri}': connection refused"
            return Answer(status=500, body={"message": message, "restate_code": "META0003"})
        services = self._services(uri)
        for name, kind in services.items():
            if name in self.latest and self._types[name] != kind:
                message = f"[META0006] detected a new service revision for '{name}' changing the service type"
                return Answer(status=409, body={"message": message, "restate_code": "META0006"})
        known = next((item for item in self.deployments.values() if item.uri == uri), None)
        served = [{"name": name} for name in services]
        if body["dry_run"] or (known and not body["force"]):
            status = 200 if known else 201
            return Answer(status=status, body={"id": known.id if known else "dp_dry", "services": served})
        if body["force"] and not self.deleting:
            assert known is not None, "force is for what exists"
            same = known.metadata == body["metadata"]
            if same and all(self.latest.get(name) == known.id for name in services):
                self.violations.append(f"{uri} was forced though it is the latest")
        if known is None:
            self._made += 1
            known = Deployment(id=f"dp_{self._made}", uri=uri, metadata={})
        highest = {name: self._highest(name) for name in services}
        known.metadata = body["metadata"]
        known.revisions = {name: highest[name] + 1 for name in services}
        self._types |= services
        self.deployments[known.id] = known
        return Answer(status=201, body={"id": known.id, "services": served})

    def _highest(self, service: str) -> int:
        return max((item.revisions.get(service, 0) for item in self.deployments.values()), default=0)

    def _delete(self, deployment_id: str, *, forced: bool) -> Answer:
        if not forced:
            return Answer(status=501, body="")
        if deployment_id not in self.deployments:
            return Answer(status=404, body={"message": f"not found: {deployment_id}", "restate_code": None})
        if not self.deleting and (held := self.holders(deployment_id)):
            self.violations.append(f"{deployment_id} was deregistered with {held[0]} pinned")
        self.deployments.pop(deployment_id)
        return Answer(status=202, body="")

    def _query(self, sql: str) -> list[dict[str, Any]]:
        if one := re.search(r"^select id .*pinned_deployment_id = '(dp_\d+)'", sql):
            return [{"id": item.id} for item in self.holders(one[1])]
        if "sys_service" in sql:
            return [{"name": name, "deployment_id": id_} for name, id_ in sorted(self.latest.items())]
        rows = []
        for id_ in sorted(set(re.findall(r"dp_\d+", sql))):
            holders = [item for item in self.holders(id_) if item.pinned or "last_attempt_deployment_id in" in sql]
            held = sorted(holders, key=lambda item: (item.status != "paused", item.id))
            paused = sum(item.status == "paused" for item in held)
            rows += [
                {
                    "deployment": id_,
                    "status": item.status,
                    "id": item.id,
                    "target": f"{item.service}/run",
                    "number": len(held),
                    "paused": paused,
                }
                for item in held[:3]
            ]
        return rows


def _row(item: Deployment) -> dict[str, Any]:
    services = [{"name": name, "revision": revision} for name, revision in item.revisions.items()]
    # Restate leaves out what is empty.
    return {"id": item.id, "uri": f"{item.uri}/", "services": services} | (
        {"metadata": item.metadata} if item.metadata else {}
    )
