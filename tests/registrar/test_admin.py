"""What Restate's admin API says, and what is made of it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from registrar.actions import Register
from registrar.admin import Admin, EndpointUnreachable, Refused
from registrar.claims import Claim
from registrar.transport import Answer, Connections, Request, Unreachable

REGISTER = Register(
    uri="http://shop-1.here.svc:9080",
    force=False,
    http1=True,
    additional_headers={"x-a": "b"},
    metadata={"git": "1"},
    claim=Claim(namespace="here", owners=["shop"]),
)


def asked(what: Callable[[Admin], Coroutine[Any, Any, Any]], *answers: Answer) -> tuple[list[Request], Any]:
    """Do something with a Restate that gives these answers."""
    requests: list[Request] = []
    left = list(answers)

    async def send(request: Request) -> Answer:
        requests.append(request)
        return left.pop(0)

    return requests, asyncio.run(what(Admin("http://restate:9070", send)))


def test_a_registration_is_tried_before_it_is_made() -> None:
    created = Answer(status=201, body={"id": "dp_1", "services": [{"name": "Shop"}]})
    listed, latest = Answer(status=200, body={"deployments": []}), Answer(status=200, body={"rows": []})
    requests, _ = asked(lambda admin: admin.register(REGISTER), created, listed, latest, created)
    tries = [item.body for item in requests if item.url.endswith("/deployments") and item.method == "POST"]
    assert [item["dry_run"] for item in tries] == [True, False]
    assert tries[1] == {
        "uri": "http://shop-1.here.svc:9080",
        "force": False,
        "use_http_11": True,
        "additional_headers": {"x-a": "b"},
        "metadata": {"git": "1"},
        "dry_run": False,
    }


@pytest.mark.parametrize(
    ("status", "body", "raised", "words"),
    [
        (409, {"message": "[META0006] the type changed", "restate_code": "META0006"}, Refused, "[META0006] the type"),
        (400, {"message": "no service", "restate_code": "META0004"}, Refused, "[META0004] no service"),
        (500, {"message": "[META0003] refused", "restate_code": "META0003"}, EndpointUnreachable, "[META0003] refused"),
        (503, "starting", Unreachable, "http://restate:9070 answers 503 to a registration: starting"),
        (429, {"message": "slow down"}, Unreachable, "slow down"),
    ],
)
def test_a_failed_trial_says_why_and_changes_nothing(
    status: int, body: Any, raised: type[Exception], words: str
) -> None:
    requests: list[Request] = []

    async def send(request: Request) -> Answer:
        requests.append(request)
        return Answer(status=status, body=body)

    with pytest.raises(raised) as error:
        asyncio.run(Admin("http://restate:9070", send).register(REGISTER))
    assert words in str(error.value)
    assert [item.body["dry_run"] for item in requests] == [True]


def test_a_deployment_that_is_gone_is_deregistered() -> None:
    requests, _ = asked(lambda admin: admin.deregister("dp_1"), Answer(status=404, body={"message": "not found"}))
    assert (requests[0].method, requests[0].query) == ("DELETE", {"force": "true"})
    with pytest.raises(Unreachable, match="501 to DELETE"):
        asked(lambda admin: admin.deregister("dp_1"), Answer(status=501, body=""))


def test_what_is_pinned_is_counted_and_named() -> None:
    deployments = {
        "deployments": [
            {"id": "dp_1", "uri": "http://own/", "services": [{"name": "shop", "revision": 1}]},
            {"id": "dp_2", "uri": "http://other/", "services": [], "metadata": {"git": "1"}},
            {"id": "dp_3", "arn": "arn:aws:lambda:x", "services": []},
        ]
    }
    services = {"rows": [{"name": "shop", "deployment_id": "dp_1"}]}
    row = {"deployment": "dp_1", "number": 5, "paused": 1}
    pinned = {
        "rows": [
            {**row, "id": "inv_1", "target": "shop/run", "status": "paused"},
            {**row, "id": "inv_2", "target": "shop/run", "status": "running"},
        ]
    }
    requests, found = asked(
        lambda admin: admin.look(lambda uri: uri == "http://own"),
        *(Answer(status=200, body=body) for body in (deployments, services, pinned)),
    )
    assert [item.uri for item in found.deployments] == ["http://own", "http://other", ""]
    assert found.latest == {"shop": "dp_1"}
    assert (found.pinned["dp_1"].count, found.pinned["dp_1"].paused) == (5, 1)
    assert found.pinned["dp_1"].examples == ("inv_1 shop/run (paused)", "inv_2 shop/run (running)")
    assert "'dp_1'" in requests[2].body["query"]
    assert "dp_2" not in requests[2].body["query"]


@pytest.mark.parametrize(
    "answer", [Answer(status=200, body="<html>"), Answer(status=500, body={"message": "starting"})]
)
def test_an_answer_without_sense_is_no_answer(answer: Answer) -> None:
    with pytest.raises(Unreachable, match="http://restate:9070/deployments"):
        asked(lambda admin: admin.look(lambda _: True), answer)


def test_nobody_there() -> None:
    async def ask() -> None:
        connections = Connections("restate")
        try:
            await connections.send(Request(method="GET", url="http://127.0.0.1:1/deployments"))
        finally:
            await connections.close()

    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1/deployments does not answer"):
        asyncio.run(ask())
