"""Who may point where: into another's namespace, at another's service name; and what a deletion does with what runs."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from registrar.cluster import Cluster, ClusterError
from registrar.consent import ALLOWED, Consent
from registrar.controller import Controller
from registrar.options import InvalidOption, Options
from registrar.transport import Answer, Request
from tests.registrar.kubernetes_model import NAMESPACE, URL
from tests.registrar.sequences import NAME
from tests.registrar.test_conditions import Stage, on_stage

THEIRS = ("theirs", "restate-admin")
SELECTING: Mapping[str, Any] = {"metadata": {}, "spec": {"selector": {"app": "restate"}}}
THERE = "http://restate-admin.theirs.svc:9070"


async def other(stage: Stage, **changed: Any) -> tuple[str, str, str]:
    """Put another object beside the first, look at it until it rests; answers its Ready."""
    stage.kubernetes.put("RestateService", "other", {"spec": {**stage.spec, **changed}})
    for _ in range(4):
        await stage.controller.run(NAMESPACE, "other")
        stage.clock.advance(5)
        stage.kubernetes.tick()
    status = stage.kubernetes.objects["RestateService", "other"]["status"]
    ready = next(item for item in status["conditions"] if item["type"] == "Ready")
    return ready["status"], ready["reason"], ready["message"]


@pytest.mark.parametrize(
    ("restate", "words"),
    [
        ({"service": {"name": "restate-admin", "namespace": "theirs"}}, "of namespace theirs, which has not agreed"),
        ({"url": THERE}, f"annotate Service restate-admin there with {ALLOWED}: {NAMESPACE}"),
        ({"url": "http://Restate-Admin.THEIRS.svc.cluster.local.:9070/"}, "of namespace theirs, which has not agreed"),
        (
            {"service": {"name": "released", "namespace": "theirs"}},
            f"add {NAMESPACE} to `restate.allowedNamespaces` in the values of the Helm release billing there",
        ),
        ({"url": "http://10.96.0.7:9070"}, "is no NAME.NAMESPACE.svc"),
        ({"url": f"http://restate.{NAMESPACE}@10.96.0.7:9070"}, "is no NAME.NAMESPACE.svc"),
        ({"url": "http://restate-admin.theirs:9070"}, "in `consents` of the registrar's chart"),
        ({"service": {"name": "alias"}}, "Service alias selects no pods of namespace"),
        ({"service": {"name": "by-hand"}}, "Service by-hand selects no pods of namespace"),
    ],
)
def test_nothing_is_asked_of_a_restate_that_has_not_agreed(restate: Mapping[str, Any], words: str) -> None:
    async def play(stage: Stage) -> None:
        stage.kubernetes.admin_services |= {
            THEIRS: {**SELECTING, "metadata": {"annotations": {ALLOWED: "shop, billing"}}},
            ("theirs", "released"): {
                **SELECTING,
                "metadata": {"annotations": {"meta.helm.sh/release-name": "billing"}},
            },
            (NAMESPACE, "alias"): {"metadata": {}, "spec": {"type": "ExternalName", "selector": {"a": "b"}}},
            (NAMESPACE, "by-hand"): {"metadata": {}, "spec": {}},
        }
        stage.restate.requests.clear()
        status, reason, message = await other(stage, restate=restate)
        assert (status, reason) == ("False", "NotAllowed")
        assert words in message
        assert not stage.restate.requests
        assert len(list(stage.kubernetes.of("Deployment"))) == 1
        assert [item["type"] for item in stage.kubernetes.events if item["reason"] == "NotAllowed"] == ["Warning"]
        await stage.rest()
        assert stage.condition("Ready")[0] == "True"

    on_stage(play)


@pytest.mark.parametrize("by", ["annotation", "everybody", "list"])
def test_it_asks_where_that_side_agreed(by: str) -> None:
    async def play(stage: Stage) -> None:
        asked: list[str] = []
        send = stage.restate.send

        async def carry(request: Request) -> Answer:
            asked.append(request.url)
            url = request.url.replace(THERE, f"http://restate.{NAMESPACE}.svc:9070")
            return await send(Request(method=request.method, url=url, query=request.query, body=request.body))

        allowed = {"annotation": f"a, {NAMESPACE}", "everybody": "*"}.get(by, "")
        stage.kubernetes.admin_services[THEIRS] = {**SELECTING, "metadata": {"annotations": {ALLOWED: allowed}}}
        consents = [Consent(namespaces=[NAMESPACE], url=THERE)] if by == "list" else []
        stage.controller = Controller(
            cluster=Cluster(URL, stage.kubernetes.send), admin=carry, now=stage.clock, consents=consents
        )
        await other(stage, restate={"url": THERE})
        assert any(url.startswith(THERE) for url in asked)

    on_stage(play)


def test_consents_are_read_and_named_when_they_cannot_be() -> None:
    found = Options.read({"REGISTRAR_CONSENTS": '[{"namespaces": ["shop"], "url": "http://r:9070/"}]'})
    assert found.consents == (Consent(namespaces=("shop",), url="http://r:9070"),)
    for text in ("[", '{"a": 1}', '[{"url": "http://r"}]', '[{"namespaces": "shop", "url": "http://r"}]'):
        with pytest.raises(InvalidOption, match="REGISTRAR_CONSENTS"):
            Options.read({"REGISTRAR_CONSENTS": text})


def test_a_name_that_somebody_serves_is_refused_to_the_newcomer() -> None:
    async def play(stage: Stage) -> None:
        before = await stage.restate.facts()
        status, reason, message = await other(stage)
        assert (status, reason) == ("False", "ServiceTaken")
        assert f"shop is served by RestateService {NAMESPACE}/{NAME} (dp_" in message
        assert "with spec.takeOver: [" in message
        assert await stage.restate.facts() == before
        await stage.rest()
        assert stage.condition("Ready")[0] == "True"
        # Asked for by name, it has them, and the one that had them says so and does not fight.
        assert (await other(stage, takeOver=["shop", "mail"]))[:2] == ("True", "Registered")
        await stage.rest(600)
        assert stage.condition("Stalled")[:2] == ("True", "ServiceTaken")
        assert f"go to RestateService {NAMESPACE}/other (dp_" in stage.condition("Ready")[2]
        assert (await other(stage, takeOver=["shop", "mail"]))[0] == "True"

    on_stage(play)


def test_a_name_moves_between_siblings_and_back_and_nobody_fights() -> None:
    async def play(stage: Stage) -> None:
        small = {"spec": {"containers": [{"name": "main", "image": "without-mail"}]}}
        siblings = {"siblings": [NAME, "other"]}
        assert (await other(stage, template=small, **siblings))[:2] == ("True", "Registered")
        await stage.rest(600)
        assert stage.condition("Ready")[1] == "ServiceTaken"
        stage.kubernetes.put("RestateService", NAME, {"spec": {**stage.spec, **siblings}})
        await stage.rest()
        assert stage.condition("Ready")[0] == "True"
        assert await stage.latest() == {"shop": "v0", "mail": "v0"}
        before = len(stage.registrations())
        for _ in range(3):
            await stage.controller.run(NAMESPACE, "other")
            await stage.rest(400)
        assert await stage.latest() == {"shop": "v0", "mail": "v0"}
        assert len(stage.registrations()) == before

    on_stage(play)


def test_what_moves_in_one_upgrade_and_back_stalls_neither() -> None:
    """As an app moves from one entry of a release to another; Helm gives up at once where an object is stalled."""

    async def play(stage: Stage) -> None:
        def upgrade(**images: str) -> None:
            for name, image in images.items():
                template = {"spec": {"containers": [{"name": "main", "image": image}]}}
                spec = {**stage.spec, "template": template, "siblings": [NAME, "other"]}
                stage.kubernetes.put("RestateService", name, {"spec": spec})

        def conditions(name: str) -> dict[str, str]:
            status = stage.kubernetes.objects["RestateService", name]["status"]
            return {item["type"]: item["status"] for item in status["conditions"]}

        async def settles(seconds: float) -> None:
            for _ in range(int(seconds / 5)):
                for name in (NAME, "other"):
                    await stage.controller.run(NAMESPACE, name)
                    assert conditions(name)["Stalled"] == "False"
                stage.clock.advance(5)
                stage.kubernetes.tick()
                await stage.restate.tick()
            assert {conditions(name)["Ready"] for name in (NAME, "other")} == {"True"}

        upgrade(shop="v0", other="new-alone")
        await settles(30)
        await stage.restate.start("mail")
        upgrade(shop="without-mail", other="mail-alone")
        await settles(60)
        assert await stage.latest() == {"shop": "without-mail", "mail": "mail-alone", "new": "new-alone"}
        upgrade(shop="v0", other="new-alone")
        await settles(60)
        assert await stage.latest() == {"shop": "v0", "mail": "v0", "new": "new-alone"}
        # One entry goes, and the other has its work while what runs there ends.
        upgrade(shop="without-mail", other="mail-alone")
        await settles(60)
        await stage.restate.start("mail")
        stage.kubernetes.take("RestateService", "other")
        upgrade(shop="v0")
        for _ in range(6):
            await stage.controller.run(NAMESPACE, "other")
            await stage.rest(10)
        assert stage.condition("Ready")[0] == "True"
        assert (await stage.latest())["mail"] == "v0"
        reasons = {item["reason"] for item in stage.kubernetes.events if item["involvedObject"]["name"] == "other"}
        assert "Deleting" in reasons
        assert not stage.restate.violations

    on_stage(play)


def test_what_a_deleted_object_left_behind_may_be_had_by_its_namespace() -> None:
    async def play(stage: Stage) -> None:
        stage.policy = "LetGo"
        stage.put()
        await stage.restate.start("shop")
        await stage.rest()
        await stage.delete()
        assert (await stage.restate.facts()).latest
        assert (await other(stage))[:2] == ("True", "Registered")

    on_stage(play)


def test_of_two_newcomers_at_once_one_has_the_name() -> None:
    async def play(stage: Stage) -> None:
        await stage.delete()
        for name in (NAME, "other"):
            stage.kubernetes.put("RestateService", name, {"spec": stage.spec})
        for _ in range(4):
            await asyncio.gather(*(stage.controller.run(NAMESPACE, name) for name in (NAME, "other")))
            stage.clock.advance(5)
            stage.kubernetes.tick()
        said = [
            next(each for each in item["status"]["conditions"] if each["type"] == "Ready")["reason"]
            for _, item in stage.kubernetes.of("RestateService")
        ]
        assert sorted(said) == ["Registered", "ServiceTaken"]

    on_stage(play)


@pytest.mark.parametrize("policy", ["Wait", "Cancel"])
def test_a_deletion_waits_for_what_is_pinned_or_cancels_it(policy: str) -> None:
    async def play(stage: Stage) -> None:
        stage.policy = policy
        stage.put()
        await stage.restate.start("shop")
        await stage.rest()
        stage.kubernetes.deleting = stage.restate.deleting = True
        stage.kubernetes.take("RestateService", NAME)
        await stage.look()
        if policy == "Wait":
            await stage.rest(600)
            assert stage.condition("Ready")[:2] == ("False", "Deleting")
            assert "spec.deletionPolicy is Wait" in stage.condition("Ready")[2]
            assert "1 invocation pinned to shop-" in stage.condition("Ready")[2]
            assert stage.replicas("v0") == 2
            await stage.restate.end(stage.random, 1.0)
        while ("RestateService", NAME) in stage.kubernetes.objects:
            await stage.look()
        assert not (await stage.restate.facts()).deployments
        cancels = [item for item in stage.restate.requests if item.url.endswith("/cancel")]
        assert len(cancels) == (policy == "Cancel")
        assert {item["type"] for item in stage.kubernetes.events} == {"Normal"}

    on_stage(play)


def test_what_a_deletion_cancels_is_cancelled_once_and_cleans_up() -> None:
    """A second cancel would end the clean-up of the first."""

    async def play(stage: Stage) -> None:
        stage.policy = "Cancel"
        stage.put()
        await stage.restate.start("shop")
        await stage.rest()
        cancels: list[str] = []
        send = stage.restate.send

        async def cleaning_up(request: Request) -> Answer:
            if request.url.endswith("/cancel"):
                cancels.append(request.url)
                return Answer(status=202, body="")
            return await send(request)

        stage.controller = Controller(cluster=Cluster(URL, stage.kubernetes.send), admin=cleaning_up, now=stage.clock)
        stage.kubernetes.deleting = stage.restate.deleting = True
        stage.kubernetes.take("RestateService", NAME)
        await stage.rest(120)
        assert stage.condition("Ready")[:2] == ("False", "Deleting")
        await stage.restate.end(stage.random, 1.0)
        while ("RestateService", NAME) in stage.kubernetes.objects:
            await stage.look()
        assert len(cancels) == 1

    on_stage(play)


def test_a_restate_that_went_with_its_service_is_not_waited_for() -> None:
    async def play(stage: Stage) -> None:
        stage.kubernetes.admin_services.clear()
        stage.restate.down = True
        began = stage.clock()
        await stage.delete()
        assert (stage.clock() - began).total_seconds() <= 5
        assert {item["type"] for item in stage.kubernetes.events} == {"Normal"}

    on_stage(play)


TYPO = (
    "failed to create typed patch object (shop-space/shop-1; apps/v1, Kind=Deployment): .spec.imag: field not declared"
)


@pytest.mark.parametrize(
    ("status", "words", "ready", "stalled"),
    [
        (500, TYPO, ("False", "Rejected"), ("True", "Rejected")),
        (500, "etcdserver: request timed out", ("False", "KubernetesError"), ("False", "KubernetesError")),
    ],
)
def test_what_kubernetes_answers_is_said_from_the_first_time_on(
    status: int, words: str, ready: tuple[str, str], stalled: tuple[str, str]
) -> None:
    async def play(stage: Stage) -> None:
        send = stage.kubernetes.send

        async def failing(request: Request) -> Answer:
            if request.headers.get("Content-Type") == "application/apply-patch+yaml" and "/deployments/" in request.url:
                return Answer(status=status, body={"message": words})
            return await send(request)

        stage.through = failing
        stage.image = "v1"
        stage.put()
        await stage.look()
        assert stage.condition("Ready")[:2] == ready
        assert stage.condition("Stalled")[:2] == stalled
        assert words in stage.condition("Ready")[2]
        assert stage.status["observedGeneration"] == 2
        told = [item for item in stage.kubernetes.events if words in item["message"]]
        assert "Warning" in {item["type"] for item in told}
        await stage.rest()
        assert len([item for item in stage.kubernetes.events if words in item["message"]]) == len(told)
        stage.through = send
        await stage.deploy("v2")
        assert stage.condition("Ready")[0] == "True"
        assert stage.condition("Stalled")[1] == "Working"

    on_stage(play)


def test_an_error_of_a_list_leaves_ready_as_it_was_for_this_spec_alone() -> None:
    async def play(stage: Stage) -> None:
        send = stage.kubernetes.send

        async def forbidding(request: Request) -> Answer:
            if request.method == "GET" and request.url.endswith("/scaledobjects"):
                return Answer(status=403, body={"message": "scaledobjects.keda.sh is forbidden"})
            return await send(request)

        stage.through = forbidding
        with pytest.raises(ClusterError):
            await stage.controller.run(NAMESPACE, NAME)
        assert stage.condition("Ready")[0] == "True"
        assert stage.condition("Stalled")[:2] == ("False", "KubernetesError")
        assert "scaledobjects.keda.sh is forbidden" in stage.condition("Stalled")[2]
        stage.image = "v1"
        stage.put()
        await stage.look()
        assert stage.condition("Ready")[:2] == ("False", "KubernetesError")
        stage.through = send
        await stage.rest()
        assert stage.condition("Ready")[0] == "True"

    on_stage(play)


def test_a_start_and_a_short_outage_warn_of_nothing_and_a_long_one_does() -> None:
    async def play(stage: Stage) -> None:
        assert {item["type"] for item in stage.kubernetes.events} == {"Normal"}
        stage.restate.down = True
        await stage.rest(30)
        assert stage.condition("Ready")[1] == "AdminUnreachable"
        assert {item["type"] for item in stage.kubernetes.events} == {"Normal"}
        await stage.rest(60)
        warned = [item["reason"] for item in stage.kubernetes.events if item["type"] == "Warning"]
        assert warned == ["AdminUnreachable"]

    on_stage(play)
