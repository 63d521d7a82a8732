"""What passes leaves nothing behind: an error, a silence, a quota, a name that was lost. And no name is an address."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from registrar.cluster import Cluster, ClusterError
from registrar.controller import Controller
from registrar.options import Options
from registrar.transport import Answer, Request
from tests.registrar.kubernetes_model import NAMESPACE, URL
from tests.registrar.sequences import NAME, SERVICES
from tests.registrar.test_conditions import Stage, on_stage
from tests.registrar.test_permission import other

type Send = Callable[[Request], Awaitable[Answer]]


def kubernetes_of(stage: Stage, refuses: Callable[[Request], bool], status: int, message: str) -> Send:
    """Have the stage's Kubernetes refuse some requests; answers what it was, which `through` may have back."""
    send: Send = stage.kubernetes.send

    async def refusing(request: Request) -> Answer:
        return Answer(status=status, body={"message": message}) if refuses(request) else await send(request)

    stage.through = refusing
    return send


def applies(request: Request) -> bool:
    """Whether it is a server-side apply."""
    return request.headers.get("Content-Type") == "application/apply-patch+yaml"


async def delete_with_a_pin(stage: Stage) -> None:
    """Delete the object while an invocation is pinned to it."""
    stage.put()
    await stage.restate.start("shop")
    await stage.rest()
    stage.kubernetes.deleting = stage.restate.deleting = True
    stage.kubernetes.take("RestateService", NAME)


async def lose_the_names(stage: Stage, **changed: Any) -> None:
    """Have another object take both names over."""
    assert (await other(stage, takeOver=["shop", "mail"], **changed))[:2] == ("True", "Registered")
    await stage.rest(60)
    assert stage.condition("Ready")[1] == "ServiceTaken"


def ask_for_the_names(stage: Stage) -> None:
    """Ask for them in the first object's spec."""
    stage.kubernetes.put("RestateService", NAME, {"spec": {**stage.spec, "takeOver": ["shop", "mail"]}})


def test_a_deletion_that_waits_outlives_a_short_outage_of_restate() -> None:
    async def play(stage: Stage) -> None:
        await delete_with_a_pin(stage)
        await stage.rest(600)
        assert ("RestateService", NAME) in stage.kubernetes.objects
        stage.restate.down = True
        await stage.look()
        stage.restate.down = False
        assert ("RestateService", NAME) in stage.kubernetes.objects, stage.reasons()

    on_stage(play)


def test_an_admin_service_that_may_not_be_read_is_not_gone() -> None:
    async def play(stage: Stage) -> None:
        await delete_with_a_pin(stage)
        await stage.look()
        kubernetes_of(
            stage, lambda request: request.url.endswith("/services/restate"), 403, 'services "restate" is forbidden'
        )
        await stage.look()
        assert ("RestateService", NAME) in stage.kubernetes.objects
        assert "is forbidden" in stage.condition("Stalled")[2]

    on_stage(play)


def test_a_quota_that_is_raised_lets_it_go_on() -> None:
    async def play(stage: Stage) -> None:
        send = kubernetes_of(
            stage, lambda request: applies(request) and "/deployments/" in request.url, 403, "exceeded quota"
        )
        await stage.deploy("v1")
        assert stage.condition("Stalled")[1] == "Rejected"
        stage.through = send
        await stage.rest(1500)
        assert stage.condition("Ready")[:2] == ("True", "Registered")

    on_stage(play)


def test_what_is_asked_for_while_restate_is_away_is_asked_when_it_is_back() -> None:
    async def play(stage: Stage) -> None:
        await lose_the_names(stage)
        ask_for_the_names(stage)
        stage.restate.down = True
        await stage.look()
        stage.restate.down = False
        await stage.rest(900)
        assert stage.condition("Ready")[:2] == ("True", "Registered")

    on_stage(play)


def test_what_is_asked_for_without_consent_is_asked_once_there_is_one() -> None:
    async def play(stage: Stage) -> None:
        await lose_the_names(stage)
        ask_for_the_names(stage)
        agreed = dict(stage.kubernetes.admin_services)
        stage.kubernetes.admin_services[NAMESPACE, "restate"] = {"metadata": {}, "spec": {}}
        await stage.look()
        assert stage.condition("Ready")[1] == "NotAllowed"
        stage.kubernetes.admin_services |= agreed
        await stage.rest(900)
        assert stage.condition("Ready")[:2] == ("True", "Registered")

    on_stage(play)


def test_what_is_asked_for_while_kubernetes_refuses_is_asked_once_it_does_not() -> None:
    async def play(stage: Stage) -> None:
        await lose_the_names(stage)
        ask_for_the_names(stage)
        stage.clock.advance(400)
        send = kubernetes_of(stage, applies, 403, "exceeded quota")
        await stage.look()
        assert stage.condition("Ready")[1] == "Rejected"
        stage.through = send
        await stage.rest(900)
        assert stage.condition("Ready")[:2] == ("True", "Registered")

    on_stage(play)


def test_an_error_of_kubernetes_is_no_reason_to_take_a_name_back() -> None:
    async def play(stage: Stage) -> None:
        ask_for_the_names(stage)
        await stage.rest()
        send = kubernetes_of(
            stage, lambda request: request.method == "GET" and request.url.endswith("/deployments"), 500, "timed out"
        )
        await stage.look()
        stage.through = send
        await lose_the_names(stage)

    on_stage(play)


def test_who_lost_a_name_has_it_back_when_the_other_is_gone() -> None:
    async def play(stage: Stage) -> None:
        await lose_the_names(stage, deletionPolicy="LetGo")
        await stage.restate.start("shop")
        await stage.rest(30)
        stage.kubernetes.take("RestateService", "other")
        await stage.controller.run(NAMESPACE, "other")
        assert ("RestateService", "other") not in stage.kubernetes.objects
        await stage.rest(900)
        assert stage.condition("Ready")[0] == "True"

    on_stage(play)


@pytest.mark.parametrize("name", [NAME, "new"])
def test_a_finalizer_that_kubernetes_does_not_take_is_said(name: str) -> None:
    """Of an object that is made, and of one that is deleted."""

    async def play(stage: Stage) -> None:
        if name == NAME:
            stage.kubernetes.take("RestateService", NAME)
        else:
            stage.kubernetes.put("RestateService", name, {"spec": stage.spec})
        kubernetes_of(
            stage,
            lambda request: (
                request.method == "PATCH"
                and request.url.endswith(f"/restateservices/{name}")
                and bool((request.body or {}).get("metadata"))
            ),
            403,
            "admission webhook denied the request",
        )
        for _ in range(3):
            with pytest.raises(ClusterError):
                await stage.controller.run(NAMESPACE, name)
        conditions = stage.kubernetes.objects["RestateService", name]["status"]["conditions"]
        assert any("denied the request" in item["message"] for item in conditions)
        assert any("denied the request" in item["message"] for item in stage.kubernetes.events)

    on_stage(play)


def test_a_name_that_is_no_name_leads_nowhere() -> None:
    """It is a part of two addresses: what looks like one's own in one of them may lead elsewhere in the other."""

    async def play(stage: Stage) -> None:
        asked = []
        send: Send = stage.kubernetes.send

        async def as_httpx_reads_it(request: Request) -> Answer:
            return await send(replace(request, url=str(httpx.URL(request.url).copy_with(fragment=None)).rstrip("#")))

        async def admin(request: Request) -> Answer:
            asked.append(request.url)
            return Answer(status=200, body={})

        mine = {"metadata": {}, "spec": {"selector": {"app": "x"}}}
        stage.kubernetes.admin_services[NAMESPACE, "deployments"] = mine
        stage.controller = Controller(cluster=Cluster(URL, as_httpx_reads_it), admin=admin, now=stage.clock)
        ready = await other(stage, restate={"service": {"name": "restate.theirs.svc:9070/../deployments#"}})
        assert ready[1] == "InvalidSpecification"
        assert "is no name of a Service" in ready[2]
        assert not asked

    on_stage(play)


def test_a_revision_that_answers_otherwise_at_the_second_discovery_takes_nothing() -> None:
    async def play(stage: Stage) -> None:
        before = await stage.restate.facts()
        send = stage.restate.send

        async def lying(request: Request) -> Answer:
            answer = await send(request)
            if request.body and "uri" in request.body and request.body["dry_run"]:
                return replace(answer, body={**answer.body, "services": [{"name": "harmless"}]})
            return answer

        stage.controller = Controller(cluster=Cluster(URL, stage.kubernetes.send), admin=lying, now=stage.clock)
        assert (await other(stage))[:2] == ("False", "ServiceTaken")
        await stage.rest()
        assert (await stage.restate.facts()).latest == before.latest

    on_stage(play)


def test_a_revision_that_answers_otherwise_once_it_is_registered_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is registered again, by force, when only `spec.metadata` has changed."""

    async def play(stage: Stage) -> None:
        alone = {"template": {"spec": {"containers": [{"name": "main", "image": "new-alone"}]}}}
        assert (await other(stage, **alone))[:2] == ("True", "Registered")
        before = (await stage.restate.facts()).latest
        monkeypatch.setitem(SERVICES, "new-alone", SERVICES["v2"])
        send = stage.restate.send

        async def lying(request: Request) -> Answer:
            answer = await send(request)
            if request.body and "uri" in request.body and request.body["dry_run"]:
                return replace(answer, body={**answer.body, "services": [{"name": "new"}]})
            return answer

        stage.controller = Controller(cluster=Cluster(URL, stage.kubernetes.send), admin=lying, now=stage.clock)
        assert (await other(stage, **alone, metadata={"git": "b"}))[:2] == ("False", "ServiceTaken")
        after = (await stage.restate.facts()).latest
        assert {name: after[name] for name in ("shop", "mail")} == {name: before[name] for name in ("shop", "mail")}
        await stage.rest()
        assert stage.condition("Ready")[0] == "True"

    on_stage(play)


def test_null_is_no_consents() -> None:
    """As Helm writes a value that an older release did not have."""
    assert Options.read({"REGISTRAR_CONSENTS": "null"}).consents == ()
