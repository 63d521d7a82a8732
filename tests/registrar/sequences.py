"""Random lives of one `RestateService`: what people, faults and load do to it, and what must hold after all."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, Protocol

from registrar.cluster import Cluster, ClusterError
from registrar.controller import Controller
from registrar.transport import Answer, Request, Send, Unreachable
from tests.registrar.kubernetes_model import NAMESPACE, URL, KubernetesModel
from tests.registrar.restate_model import Facts

__all__ = ["GOOD", "NAME", "SERVICES", "Clock", "Life", "Runtime"]

NAME: Final = "shop"
GOOD: Final = ("v0", "v1", "v2", "v3")
SERVICES: Final[Mapping[str, Mapping[str, str]]] = {
    "v0": {"shop": "Service", "mail": "Service"},
    "v1": {"shop": "Service", "mail": "Service"},
    "v2": {"shop": "Service", "mail": "Service", "new": "Service"},
    "v3": {"shop": "Service", "mail": "Service"},
    "without-mail": {"shop": "Service"},
    "mail-alone": {"mail": "Service"},
    "new-alone": {"new": "Service"},
    "changed-type": {"shop": "VirtualObject", "mail": "Service"},
    "broken": {"shop": "Service"},
}
_MOST_PASSES: Final = 200


class Clock:
    """The time of a simulation; it moves when told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += timedelta(seconds=seconds)


class Runtime(Protocol):
    """A Restate: the one in memory, or a real one."""

    down: bool
    deleting: bool
    fail_after: int | None
    violations: list[str]
    requests: list[Request]

    async def send(self, request: Request) -> Answer: ...
    async def facts(self) -> Facts: ...
    async def start(self, service: str) -> None: ...
    async def end(self, random: Random, share: float) -> None: ...
    async def pause(self, random: Random) -> None: ...
    async def lose(self) -> None: ...
    async def tick(self) -> None: ...


class Life:
    """One sequence. `log` has what happened, for who must find out why it went wrong."""

    def __init__(
        self, *, seed: int, clock: Clock, kubernetes: KubernetesModel, restate: Runtime, most: int = 14
    ) -> None:
        self.random = Random(seed)
        self.most = most
        self.clock, self.kubernetes, self.restate = clock, kubernetes, restate
        self.log: list[str] = [f"seed {seed}"]
        self.image = self.random.choice(GOOD)
        self.metadata = {"git": "a"}
        self.scaling: dict[str, Any] = {"replicas": 2}
        self.delay = self.random.choice((0, 60, 300))
        self.policy = "Wait"
        kubernetes.broken_images = {"broken"}
        self.through: Send = kubernetes.send
        self.controller = self._controller()

    def _controller(self) -> Controller:
        return Controller(cluster=Cluster(URL, self._to_kubernetes), admin=self.restate.send, now=self.clock)

    async def _to_kubernetes(self, request: Request) -> Answer:
        return await self.through(request)

    @property
    def status(self) -> dict[str, Any]:
        """What the registrar says."""
        found: dict[str, Any] = self.kubernetes.objects["RestateService", NAME]["status"]
        return found

    def condition(self, kind: str) -> tuple[str, str, str]:
        """A condition: its status, reason and message."""
        found = next(item for item in self.status["conditions"] if item["type"] == kind)
        return found["status"], found["reason"], found["message"]

    @property
    def spec(self) -> dict[str, Any]:
        """What the user asks for."""
        return {
            "restate": {"service": {"name": "restate"}},
            "metadata": dict(self.metadata),
            "template": {"spec": {"containers": [{"name": "main", "image": self.image}]}},
            "scaling": dict(self.scaling),
            "revisionHistoryLimit": 1,
            "drainDelaySeconds": self.delay,
            "deletionPolicy": self.policy,
        }

    def put(self) -> None:
        """Apply the spec."""
        self.kubernetes.put("RestateService", NAME, {"spec": self.spec})

    async def run(self) -> None:
        """Live through a random sequence, then see that all comes to rest."""
        self.put()
        await self.passes(self.random.randint(0, 3))
        happenings = (
            *(self.change_image,) * 5,
            *(self.start,) * 4,
            self.change_scaling,
            self.change_metadata,
            self.outage,
            self.lose,
            self.interrupt,
            self.shake_pods,
            self.meddle,
            self.forget_status,
            self.end_some,
            self.pause,
            self.wait,
            self.keda,
            self.recreate,
        )
        for _ in range(self.random.randint(3, self.most)):
            happening = self.random.choice(happenings)
            await happening()
            self.log.append(happening.__name__ + f" {self.image}")
            await self.passes(self.random.randint(0, 4))
        await self.calm()

    async def passes(self, count: int) -> None:
        """Let the registrar look so many times, and time pass between."""
        for _ in range(count):
            again = await self.look()
            self.clock.advance(min(again, self.random.choice((1, 10, 60, 400))))
            self.kubernetes.tick()
            await self.restate.tick()

    async def look(self) -> float:
        """One pass; a failed one is tried again later, as the scheduler does."""
        try:
            again = await self.controller.run(NAMESPACE, NAME)
        except (ClusterError, Unreachable) as error:
            self.log.append(f"failed: {error}")
            again = 5.0
        self.kubernetes.fail_after = self.restate.fail_after = None
        return 300.0 if again is None else again

    # What may happen.

    async def change_image(self) -> None:
        self.image = self.random.choice((*GOOD, *GOOD, "without-mail", "changed-type", "broken"))
        self.put()

    async def start(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            await self.restate.start(self.random.choice(("shop", "mail")))

    async def change_scaling(self) -> None:
        elastic = {
            "minReplicas": self.random.choice((0, 1, 2)),
            "maxReplicas": 5,
            "concurrency": 4,
            "metricsUrl": "http://exporter/scaling/restate",
        }
        self.scaling = self.random.choice((elastic, {"replicas": self.random.randint(1, 3)}))
        self.put()

    async def change_metadata(self) -> None:
        self.metadata = {"git": self.random.choice("abc")}
        self.put()

    async def outage(self) -> None:
        self.restate.down = True
        await self.passes(self.random.randint(1, 4))
        self.restate.down = False

    async def lose(self) -> None:
        await self.restate.lose()

    async def interrupt(self) -> None:
        """Either API stops answering in the middle of a pass; or the registrar is killed there, and starts again."""
        api = self.random.choice((self.kubernetes, self.restate))
        api.fail_after = self.random.randint(0, 14)
        await self.look()
        self.controller = self._controller()

    async def shake_pods(self) -> None:
        names = [name for name, _ in self.kubernetes.of("Deployment")]
        if names:
            self.kubernetes.unready ^= {self.random.choice(names)}
        self.kubernetes.tick()

    async def meddle(self) -> None:
        """Somebody takes an object away or scales by hand. Only what can be made again: templates of old are not."""
        kind, name = self.random.choice(
            [key for key in self.kubernetes.objects if key[0] in ("Service", "ScaledObject", "Deployment")]
            or [("", "")]
        )
        if kind == "ScaledObject":
            self.kubernetes.take(kind, name)
        elif kind == "Deployment":
            self.kubernetes.objects[kind, name]["spec"]["replicas"] = self.random.randint(0, 3)

    async def forget_status(self) -> None:
        if found := self.kubernetes.objects.get(("RestateService", NAME)):
            found.pop("status", None)

    async def end_some(self) -> None:
        await self.restate.end(self.random, 0.5)

    async def pause(self) -> None:
        await self.restate.pause(self.random)

    async def wait(self) -> None:
        self.clock.advance(self.random.choice((30, 400, 4000)))

    async def keda(self) -> None:
        self.kubernetes.keda = not self.kubernetes.keda
        if not self.kubernetes.keda:
            # Its objects go with its kind.
            for name, _ in self.kubernetes.of("ScaledObject"):
                self.kubernetes.take("ScaledObject", name)

    async def recreate(self) -> None:
        """Delete it, with Restate there or not, by any policy, and make it again."""
        self.policy = self.random.choice(("Cancel", "LetGo"))
        self.put()
        self.restate.down = self.random.random() < 0.5
        await self.delete()
        self.restate.down = False
        # Who deletes a service gives up what it was running.
        await self.restate.end(self.random, 1.0)
        self.put()

    async def delete(self) -> None:
        """Delete the object; it may take the minute for which Restate is waited for, and no longer."""
        self.restate.deleting = self.kubernetes.deleting = True
        self.kubernetes.take("RestateService", NAME)
        began = self.clock()
        while ("RestateService", NAME) in self.kubernetes.objects:
            self.say((self.clock() - began).total_seconds() <= 80, "the finalizer holds the object for too long")
            again = await self.look()
            self.clock.advance(again)
        self.restate.deleting = self.kubernetes.deleting = False

    # What must hold.

    async def calm(self) -> None:
        """No more faults: what is wanted serves, what is pinned is served, and what nothing holds goes."""
        self.kubernetes.unready.clear()
        if self.image not in GOOD:
            self.image = self.random.choice(GOOD)
        facts = await self.restate.facts()
        known = {id_: self.kubernetes.image(uri) for id_, uri in facts.deployments.items()}
        if known.get(facts.latest.get("shop", "")) == "changed-type":
            # It came to a Restate that had lost everything, and now it is the others that change the type.
            self.image = "changed-type"
        self.put()
        await self.settle()
        await self.check(pinned=True)
        await self.restate.end(self.random, 1.0)
        await self.settle()
        await self.check(pinned=False)
        await self.quiet()
        await self.delete()
        left = [key for key in self.kubernetes.objects if key[0] != "Event"]
        self.say(not left, f"left in Kubernetes: {left}")
        facts = await self.restate.facts()
        self.say(not facts.deployments, f"left in Restate: {facts.deployments}")

    async def settle(self) -> None:
        """Let passes run, each when the last one asked for it, until one finds nothing to do for twice the delay."""
        still = 0.0
        for _ in range(_MOST_PASSES):
            before = self.changes
            again = await self.look()
            self.clock.advance(again)
            self.kubernetes.tick()
            await self.restate.tick()
            still = still + again if self.changes == before else 0.0
            if still > 2 * self.delay + 300 and again >= 30:
                return
        self.say(False, f"no rest after {_MOST_PASSES} passes")

    @property
    def changes(self) -> int:
        """What the registrar has changed so far, in either API."""
        told = sum(
            item.method == "DELETE" or (item.method == "POST" and item.url.endswith("/deployments"))
            for item in self.restate.requests
        )
        return self.kubernetes.changes + told

    async def check(self, *, pinned: bool) -> None:
        """See that the object and both APIs agree on what is wanted."""
        facts, status = await self.restate.facts(), self.kubernetes.objects["RestateService", NAME]["status"]
        ready = next(item for item in status["conditions"] if item["type"] == "Ready")
        self.say(ready["status"] == "True", f"not ready: {ready}")
        latest = {facts.deployments[id_] for service, id_ in facts.latest.items() if service in SERVICES[self.image]}
        images = {self.kubernetes.image(uri) for uri in latest}
        self.say(images == {self.image}, f"{images} are the latest in Restate")
        self.say(
            facts.metadata[status["deploymentId"]] == self.metadata, f"Restate has {facts.metadata} for {self.metadata}"
        )
        for id_, uri in facts.deployments.items():
            elastic = "ScaledObject" in {kind for kind, name in self.kubernetes.objects if f"//{name}." in uri}
            self.say(bool(self.kubernetes.available(uri)) or elastic, f"{uri} is registered and has no pods")
            held = facts.pinned.get(id_, 0) or any(item == id_ for item in facts.latest.values())
            self.say(bool(held), f"{uri} is still registered, and nothing holds it")
        self.say(pinned or status["pinned"] == 0, f"{status['pinned']} are pinned")
        retired = [item for item in status["revisions"] if item["phase"] == "Retired"]
        self.say(len(retired) <= 1, f"more than the history limit: {retired}")
        known = {item["name"] for item in status["revisions"]}
        there = {name for kind, name in self.kubernetes.objects if kind in ("Deployment", "Service", "ScaledObject")}
        self.say(there <= known, f"{there - known} are told of nowhere")
        self.say(not self.kubernetes.violations, f"{self.kubernetes.violations}")
        self.say(not self.restate.violations, f"{self.restate.violations}")

    async def quiet(self) -> None:
        """A steady object costs no write, and few reads: all but the slow comparison with the manifests."""
        await self.look()
        self.clock.advance(1)
        self.kubernetes.requests.clear()
        self.restate.requests.clear()
        again = await self.look()
        self.say(again == 30, f"it wants to look again in {again} s")
        self.say(not self.kubernetes.writes, f"it writes without need: {self.kubernetes.writes}")
        calls = len(self.kubernetes.requests) + len(self.restate.requests)
        self.say(calls <= 8, f"a steady pass makes {calls} requests")

    def say(self, true: object, otherwise: str) -> None:
        """Fail with the whole story."""
        if not true:
            raise AssertionError(f"{otherwise}\n" + "\n".join(self.log))
