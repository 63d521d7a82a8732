"""What happens at the edges, and what the registrar says of it: one simulated life, step by step."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from registrar.cluster import Cluster
from registrar.health import Heartbeat
from registrar.manifests import Manifest
from registrar.transport import Answer, Request
from registrar.troubles import troubles
from tests.registrar.kubernetes_model import URL
from tests.registrar.restate_model import Deployment
from tests.registrar.sequences import NAME, Life
from tests.registrar.test_simulation import life as random_life

ELASTIC = {"minReplicas": 1, "maxReplicas": 5, "concurrency": 4, "metricsUrl": "http://exporter/scaling/restate"}


class Stage(Life):
    """A life that does what the test says."""

    async def rest(self, seconds: float = 30) -> None:
        """Let the registrar work for so long, looking when it wants to."""
        end = self.clock().timestamp() + seconds
        while self.clock().timestamp() < end:
            again = await self.look()
            self.clock.advance(min(again, 5))
            self.kubernetes.tick()
            await self.restate.tick()

    async def deploy(self, image: str, seconds: float = 30) -> None:
        """Ask for an image, and wait."""
        self.image = image
        self.put()
        await self.rest(seconds)

    def registrations(self) -> list[dict[str, Any]]:
        """The bodies of all trials and registrations so far."""
        return [item.body for item in self.restate.requests if item.body and "uri" in item.body]

    def reasons(self) -> list[str]:
        """The events so far."""
        return [item["reason"] for item in self.kubernetes.events]

    def replicas(self, image: str) -> int:
        """The pods that an image is to have."""
        found: int = next(
            item["spec"].get("replicas", 1)
            for _, item in self.kubernetes.of("Deployment")
            if item["spec"]["template"]["spec"]["containers"][0]["image"] == image
        )
        return found

    async def latest(self) -> dict[str, str]:
        """The image that each service's new calls go to."""
        facts = await self.restate.facts()
        return {name: self.kubernetes.image(facts.deployments[id_]) for name, id_ in facts.latest.items()}


def on_stage(play: Callable[[Stage], Awaitable[None]]) -> None:
    made = random_life(0)
    stage = Stage(seed=0, clock=made.clock, kubernetes=made.kubernetes, restate=made.restate)
    stage.delay = 60

    async def run() -> None:
        await stage.deploy("v0")
        assert stage.condition("Ready")[:2] == ("True", "Registered")
        await play(stage)
        assert not stage.kubernetes.violations

    asyncio.run(run())


def test_a_refusal_has_restates_words_and_is_no_loop() -> None:
    async def play(stage: Stage) -> None:
        before = len(stage.registrations())
        await stage.deploy("changed-type", 280)
        words = "[META0006] detected a new service revision for 'shop' changing the service type"
        assert stage.condition("Ready") == ("False", "Refused", words)
        assert stage.condition("Stalled") == ("True", "Refused", words)
        assert stage.status["observedGeneration"] == 2
        assert await stage.latest() == {"shop": "v0", "mail": "v0"}
        assert stage.replicas("v0") == 2
        tries = stage.registrations()[before:]
        # One when it came, and one with the slow comparison of everything.
        assert len(tries) <= 2
        assert all(item["dry_run"] for item in tries)
        assert stage.reasons().count("Refused") == 1
        await stage.deploy("v1")
        assert stage.condition("Ready")[0] == "True"
        assert stage.condition("Stalled")[0] == "False"
        assert not [name for name, item in stage.kubernetes.of("Deployment") if "changed-type" in str(item)]

    on_stage(play)


def test_a_rollback_to_a_kept_revision_makes_it_the_latest_again() -> None:
    async def play(stage: Stage) -> None:
        await stage.deploy("v1", 300)
        assert stage.replicas("v0") == 0
        assert len((await stage.restate.facts()).deployments) == 1
        before = len(stage.registrations())
        await stage.deploy("v0", 30)
        assert stage.replicas("v0") == 2
        assert await stage.latest() == {"shop": "v0", "mail": "v0"}
        assert stage.condition("Ready")[0] == "True"
        assert len(stage.registrations()) == before + 2

    on_stage(play)


def test_a_rollback_to_a_draining_revision_is_forced() -> None:
    async def play(stage: Stage) -> None:
        await stage.restate.start("shop")
        await stage.deploy("v1")
        assert stage.condition("Draining")[1] == "Pinned"
        await stage.deploy("v0")
        assert stage.registrations()[-1]["force"]
        assert await stage.latest() == {"shop": "v0", "mail": "v0"}
        assert "Registered" in stage.reasons()

    on_stage(play)


def test_a_blocked_drain_names_what_blocks_it() -> None:
    async def play(stage: Stage) -> None:
        for _ in range(4):
            await stage.restate.start("mail")
        await stage.deploy("v1")
        status, reason, message = stage.condition("Draining")
        assert (status, reason) == ("True", "Pinned")
        assert "4 invocations pinned to it: inv_" in message
        assert "mail/run (running), " in message
        assert message.endswith(", ...")
        assert stage.status["pinned"] == 4
        found: Any = stage.restate
        next(iter(found.invocations.values())).status = "paused"
        await stage.rest()
        status, reason, message = stage.condition("Draining")
        assert (status, reason) == ("True", "Paused")
        assert "1 of them paused (resume, cancel or kill those)" in message
        assert "(paused)" in message
        assert "DrainBlocked" in stage.reasons()
        assert stage.replicas("v0") == 2
        await stage.restate.end(stage.random, 1.0)
        await stage.rest(20)
        assert stage.condition("Draining")[1] == "DrainDelay"
        await stage.rest(120)
        assert stage.condition("Draining")[:2] == ("False", "Drained")
        assert stage.replicas("v0") == 0

    on_stage(play)


def test_a_service_that_the_new_revision_lacks_keeps_the_old_one() -> None:
    async def play(stage: Stage) -> None:
        await stage.deploy("without-mail", 300)
        assert stage.condition("Ready")[0] == "True"
        assert stage.condition("Draining")[1] == "LatestOfService"
        assert "it is the latest that has mail, which the wanted revision lacks" in stage.condition("Draining")[2]
        assert await stage.latest() == {"shop": "without-mail", "mail": "v0"}
        assert stage.replicas("v0") == 2

    on_stage(play)


def test_a_revision_without_pods_says_why_and_stalls_at_its_deadline() -> None:
    async def play(stage: Stage) -> None:
        await stage.deploy("broken", 60)
        status, reason, message = stage.condition("Ready")
        assert (status, reason) == ("False", "Progressing")
        assert "0 of 2 pods are available; pod shop-" in message
        assert "container main: CrashLoopBackOff" in message
        assert stage.condition("Stalled")[0] == "False"
        await stage.rest(300)
        assert stage.condition("Stalled")[:2] == ("True", "ProgressDeadlineExceeded")
        assert "It has had its 300 s (spec.progressDeadlineSeconds)" in stage.condition("Stalled")[2]
        assert await stage.latest() == {"shop": "v0", "mail": "v0"}
        assert stage.replicas("v0") == 2
        assert stage.status["latestRevision"] in {name for name, _ in stage.kubernetes.of("Deployment")}

    on_stage(play)


def test_an_endpoint_that_restate_cannot_reach_stalls_at_its_deadline() -> None:
    async def play(stage: Stage) -> None:
        restate: Any = stage.restate
        reach = restate._available
        restate._available = lambda uri: reach(uri) if stage.kubernetes.image(uri) != "v1" else 0
        await stage.deploy("v1", 60)
        assert stage.condition("Ready")[1] == "EndpointUnreachable"
        assert "[META0003] error when calling 'http://shop-" in stage.condition("Ready")[2]
        assert stage.condition("Stalled")[0] == "False"
        await stage.rest(400)
        assert stage.condition("Stalled")[:2] == ("True", "EndpointUnreachable")
        restate._available = reach
        await stage.rest(30)
        assert stage.condition("Ready")[0] == "True"

    on_stage(play)


def test_while_restate_does_not_answer_nothing_is_destroyed() -> None:
    async def play(stage: Stage) -> None:
        await stage.deploy("v1", 5)
        stage.restate.down = True
        stage.kubernetes.requests.clear()
        assert await stage.look() == 30
        await stage.deploy("v2", 900)
        assert stage.condition("Ready")[:2] == ("False", "AdminUnreachable")
        assert "http://restate.shop-space.svc:9070/deployments does not answer" in stage.condition("Ready")[2]
        assert "a NetworkPolicy holds it, that must let the registrar's own namespace in" in stage.condition("Ready")[2]
        assert not [item for item in stage.kubernetes.writes if item.method == "DELETE"]
        assert all(stage.replicas(image) for image in ("v0", "v1", "v2"))
        stage.restate.down = False
        await stage.rest()
        assert stage.condition("Ready")[0] == "True"

    on_stage(play)


def test_lost_registrations_are_made_again() -> None:
    async def play(stage: Stage) -> None:
        await stage.restate.lose()
        await stage.rest(5)
        assert await stage.latest() == {"shop": "v0", "mail": "v0"}
        assert stage.condition("Ready")[0] == "True"

    on_stage(play)


def test_somebody_elses_deployment_is_not_fought() -> None:
    async def play(stage: Stage) -> None:
        restate: Any = stage.restate
        revisions = {"shop": 99}
        restate.deployments["dp_x"] = Deployment(id="dp_x", uri="http://elsewhere", metadata={}, revisions=revisions)
        before = len(stage.registrations())
        await stage.rest(600)
        assert stage.condition("Stalled")[:2] == ("True", "ServiceTaken")
        assert "New calls of shop go to somebody else (dp_x at http://elsewhere)" in stage.condition("Ready")[2]
        assert len(stage.registrations()) == before
        del restate.deployments["dp_x"]
        await stage.rest(30)
        assert stage.condition("Ready")[0] == "True"

    on_stage(play)


def test_metadata_alone_makes_no_revision() -> None:
    async def play(stage: Stage) -> None:
        stage.metadata = {"git": "another"}
        await stage.deploy("v0")
        assert list((await stage.restate.facts()).metadata.values()) == [{"git": "another"}]
        assert len(list(stage.kubernetes.of("Deployment"))) == 1

    on_stage(play)


def test_without_keda_the_least_number_of_pods_runs() -> None:
    async def play(stage: Stage) -> None:
        stage.kubernetes.keda = False
        stage.scaling = {**ELASTIC, "minReplicas": 3}
        await stage.deploy("v1")
        assert stage.condition("Ready")[0] == "True"
        assert stage.condition("Scaling")[:2] == ("False", "KedaMissing")
        assert stage.replicas("v1") == 3
        assert "KedaMissing" in stage.reasons()
        stage.kubernetes.keda = True
        await stage.rest(320)
        assert stage.condition("Scaling")[:2] == ("True", "Keda")
        ((_, scaler),) = stage.kubernetes.of("ScaledObject")
        assert scaler["spec"]["minReplicaCount"] == 3
        url = scaler["spec"]["triggers"][0]["metadata"]["url"]
        assert url.startswith("http://exporter/scaling/restate?endpoint=http%3A%2F%2Fshop-")

    on_stage(play)


def test_a_draining_revision_scales_on_its_own_work() -> None:
    async def play(stage: Stage) -> None:
        stage.scaling = {**ELASTIC, "minReplicas": 2}
        stage.put()
        await stage.rest()
        for _ in range(4):
            await stage.restate.start("shop")
        await stage.deploy("v1")
        found = {
            item["metadata"]["labels"]["tandem.dev/revision"]: item for _, item in stage.kubernetes.of("ScaledObject")
        }
        assert sorted(item["spec"]["minReplicaCount"] for item in found.values()) == [1, 2]
        urls = {item["spec"]["triggers"][0]["metadata"]["url"] for item in found.values()}
        assert len(urls) == 2
        assert stage.replicas("v0") == 4
        await stage.restate.end(stage.random, 1.0)
        await stage.rest(120)
        assert len(list(stage.kubernetes.of("ScaledObject"))) == 1
        assert stage.replicas("v0") == 0

    on_stage(play)


def test_what_kubernetes_rejects_stalls_and_is_no_loop() -> None:
    async def play(stage: Stage) -> None:
        send, rejected = stage.kubernetes.send, 0

        async def strict(request: Request) -> Answer:
            nonlocal rejected
            if request.headers.get("Content-Type") == "application/apply-patch+yaml" and "/deployments/" in request.url:
                rejected += 1
                return Answer(status=422, body={"message": "spec.template.spec.containers[0].image: Required value"})
            return await send(request)

        stage.through = strict
        await stage.deploy("v1", 280)
        assert stage.condition("Stalled")[:2] == ("True", "Rejected")
        assert "Kubernetes rejects Deployment shop-" in stage.condition("Ready")[2]
        assert "image: Required value" in stage.condition("Ready")[2]
        assert rejected <= 2
        assert await stage.latest() == {"shop": "v0", "mail": "v0"}

    on_stage(play)


def test_a_rollout_does_not_wait_for_the_webhook_of_keda() -> None:
    async def play(stage: Stage) -> None:
        await stage.restate.start("shop")
        send = stage.kubernetes.send

        async def without_webhook(request: Request) -> Answer:
            if request.headers.get("Content-Type") == "application/apply-patch+yaml" and "keda" in request.url:
                return Answer(status=500, body={"message": "failed calling webhook"})
            return await send(request)

        stage.through = without_webhook
        stage.scaling = ELASTIC
        await stage.deploy("v1", 60)
        assert await stage.latest() == {"shop": "v1", "mail": "v1"}
        stage.through = send
        await stage.rest(10)
        assert stage.condition("Ready")[0] == "True"
        assert len(list(stage.kubernetes.of("ScaledObject"))) == 2

    on_stage(play)


def test_a_spec_that_cannot_be_used_stalls_and_changes_nothing() -> None:
    async def play(stage: Stage) -> None:
        stage.kubernetes.put("RestateService", NAME, {"spec": {**stage.spec, "scaling": {"replicas": 0}}})
        await stage.rest()
        assert stage.condition("Stalled")[:2] == ("True", "InvalidSpecification")
        assert "spec.scaling.replicas: 0 is no whole number" in stage.condition("Ready")[2]
        assert stage.replicas("v0") == 2
        assert await stage.latest() == {"shop": "v0", "mail": "v0"}

    on_stage(play)


@pytest.mark.parametrize("down", [False, True])
def test_a_deleted_object_is_let_go(*, down: bool) -> None:
    async def play(stage: Stage) -> None:
        await stage.restate.start("shop")
        began: datetime = stage.clock()
        stage.policy = "LetGo"
        stage.put()
        stage.restate.down = down
        await stage.delete()
        seconds = (stage.clock() - began).total_seconds()
        assert not list(stage.kubernetes.of("Deployment"))
        assert (await stage.restate.facts()).deployments
        if down:
            assert 60 <= seconds <= 400
            assert "ReleasedWithoutRestate" in stage.reasons()
        else:
            assert seconds <= 5
            assert "PinnedAtDeletion" in stage.reasons()
            # The way back: as it was, it finds its revision registered, and what is pinned goes on.
            stage.put()
            await stage.rest()
            assert stage.condition("Ready")[0] == "True"
            found: Any = stage.restate
            assert [item.status for item in found.invocations.values()] == ["running"]
            assert not found.violations

    on_stage(play)


def test_events_that_are_not_taken_hold_nothing_up() -> None:
    async def play(stage: Stage) -> None:
        send = stage.kubernetes.send

        async def terminating(request: Request) -> Answer:
            return Answer(status=403, body={}) if request.url.endswith("/events") else await send(request)

        stage.through = terminating
        stage.policy = "LetGo"
        stage.put()
        await stage.restate.start("shop")
        await stage.delete()
        assert ("RestateService", NAME) not in stage.kubernetes.objects

    on_stage(play)


def test_what_was_changed_by_hand_is_put_back() -> None:
    async def play(stage: Stage) -> None:
        ((name, deployment),) = stage.kubernetes.of("Deployment")
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "by-hand"
        stage.kubernetes.objects["Service", name]["metadata"]["annotations"].clear()
        await stage.rest(320)
        ((_, deployment),) = stage.kubernetes.of("Deployment")
        assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "v0"
        assert stage.kubernetes.objects["Service", name]["metadata"]["annotations"]

    on_stage(play)


def test_idle_it_makes_less_than_half_a_call_a_second() -> None:
    async def play(stage: Stage) -> None:
        await stage.deploy("v1", 400)
        heartbeat = Heartbeat(cluster=Cluster(URL, stage.kubernetes.send), namespaces=[])
        stage.kubernetes.requests.clear()
        stage.restate.requests.clear()
        hour, looked, beaten = 3600.0, 0.0, 0.0
        while min(looked, beaten) < hour:
            if looked <= beaten:
                again = await stage.look()
                stage.clock.advance(again)
                looked += again
            else:
                await heartbeat.beat()
                beaten += heartbeat.interval
        calls = len(stage.kubernetes.requests) + len(stage.restate.requests)
        assert calls / hour < 0.5, f"{calls} calls an hour"
        assert not [
            item
            for item in stage.kubernetes.writes
            if item.method != "PATCH" or "apply" not in item.headers["Content-Type"]
        ]

    on_stage(play)


def pod(**status: Any) -> Manifest:
    return {"metadata": {"name": "shop-1-a"}, "status": {"phase": "Pending", **status}}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {
                "initContainerStatuses": [
                    {
                        "name": "database",
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                        "lastState": {"terminated": {"exitCode": 1, "message": "no database at db:5432\n"}},
                    }
                ]
            },
            "pod shop-1-a: init container database: CrashLoopBackOff: no database at db:5432",
        ),
        (
            {
                "containerStatuses": [
                    {"name": "main", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
                ]
            },
            "pod shop-1-a: container main: ErrImagePull: not found",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}]},
            "pod shop-1-a: Unschedulable: 0/1",
        ),
        (
            {"phase": "Running", "containerStatuses": [{"name": "main", "ready": False, "state": {"running": {}}}]},
            "pod shop-1-a: not ready: main",
        ),
        (
            {
                "containerStatuses": [
                    {"name": "main", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
                ]
            },
            "pod shop-1-a: container main: it ended with code 137 (OOMKilled)",
        ),
    ],
)
def test_a_pod_says_what_holds_it(status: Any, words: str) -> None:
    assert list(troubles({}, [pod(**status)])) == [words]


def test_a_pod_that_is_starting_is_no_trouble() -> None:
    waiting = {"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}
    assert not troubles({}, [pod(containerStatuses=[waiting])])
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    assert list(troubles({"status": {"conditions": [failure]}}, [])) == ["FailedCreate: exceeded quota"]
