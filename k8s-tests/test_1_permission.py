"""Who may not: a thief from another namespace, a newcomer with a name that is taken, a spec that Kubernetes refuses."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from installation import Installation, until

THIEF = "thief"
POD = {"containers": [{"name": "main", "image": "localhost/tandem/project:1"}]}


@pytest.fixture
def thief(platform: Installation) -> Iterator[str]:
    """A namespace of somebody else's."""
    platform.kubernetes.kubectl("create", "namespace", THIEF)
    yield THIEF
    platform.kubernetes.kubectl("delete", "namespace", THIEF, "--wait=false")


def ready(platform: Installation, name: str, namespace: str = "") -> dict[str, Any]:
    found = platform.kubernetes.get("restateservice", name, namespace=namespace or platform.namespace)
    conditions = found.get("status", {}).get("conditions", [])
    # Nothing is said of an object that the registrar has not come to yet.
    return next((each for each in conditions if each["type"] == "Ready"), {"reason": "", "message": ""})


def put(platform: Installation, name: str, spec: dict[str, Any], namespace: str = "") -> None:
    body = {"apiVersion": "tandem.dev/v1alpha1", "kind": "RestateService", "metadata": {"name": name}, "spec": spec}
    where = f"--namespace={namespace or platform.namespace}"
    platform.kubernetes.kubectl(where, "apply", "--filename=-", content=json.dumps(body))


def ends_with(platform: Installation, name: str, reason: str, namespace: str = "") -> str:
    """Wait for the reason of its Ready; answers the message, which an event must have too."""
    until(
        lambda: ready(platform, name, namespace)["reason"] == reason,
        f"{name} does not end with {reason}",
        patience=90.0,
    )
    message = str(ready(platform, name, namespace)["message"])

    def told() -> bool:
        events = platform.kubernetes.get("events", namespace=namespace or platform.namespace)["items"]
        said = {(each["involvedObject"]["name"], each["reason"], each["type"], each["message"]) for each in events}
        return (name, reason, "Warning", message[:1024]) in said

    until(told, f"no event of {name} says {message}", patience=30.0)
    return message


def test_each_ends_with_a_condition_that_says_why_and_the_victim_stays_ready(
    platform: Installation, thief: str
) -> None:
    victim, before = platform.release, ready(platform, platform.release)
    spec = platform.get("restateservice", victim)["spec"]
    # Entries of one release may take from each other.
    spec.pop("siblings", None)
    admin = {"service": {"name": f"{victim}-restate-admin", "namespace": platform.namespace, "port": 9070}}
    put(platform, "plain", {"restate": admin, "template": {"spec": POD}, "scaling": {"replicas": 1}}, thief)
    put(platform, "newcomer", {**spec, "scaling": {"replicas": 1}})
    typo = {"spec": {"containers": [{"name": "main", "imag": "x"}]}}
    put(platform, "typo", {**spec, "template": typo, "scaling": {"replicas": 1}})

    assert "failed to create typed patch object" in ends_with(platform, "typo", "Rejected")
    assert "which has not agreed to services of thief" in ends_with(platform, "plain", "NotAllowed", thief)
    assert not platform.kubernetes.get("deployments", namespace=thief)["items"]
    words = ends_with(platform, "newcomer", "ServiceTaken")
    assert f"is served by RestateService {platform.namespace}/{victim} (dp_" in words

    # Agreed to, it is looked after.
    service = ("service", f"{victim}-restate-admin")
    platform.kubectl("annotate", *service, f"tandem.dev/allowed-namespaces={thief}")
    until(lambda: ready(platform, "plain", thief)["reason"] != "NotAllowed", "the thief is not let in when allowed")
    platform.kubectl("annotate", *service, "tandem.dev/allowed-namespaces-")
    platform.kubectl("delete", "restateservice", "newcomer", "typo", "--timeout=60s")

    assert ready(platform, victim) == before
    events = platform.get("events")["items"]
    about = [each for each in events if each["involvedObject"]["name"] == victim]
    warned = [
        each for each in about if each["type"] == "Warning" and each["involvedObject"]["kind"] == "RestateService"
    ]
    assert not warned, warned


def test_only_tandem_writes_to_the_tracker(platform: Installation) -> None:
    code = (
        "import os, urllib.error, urllib.request\n"
        "url = os.environ['TANDEM_RESTATE_INGRESS_URL'] + '/TaskTracker/stranger/'\n"
        "def call(handler):\n"
        "    request = urllib.request.Request(url + handler, data=b'{}', headers={'content-type': 'application/json'})\n"
        "    try:\n"
        "        return urllib.request.urlopen(request, timeout=20).status\n"
        "    except urllib.error.HTTPError as error:\n"
        "        return error.code\n"
        "get = urllib.request.urlopen(urllib.request.Request(url + 'get', method='POST'), timeout=20).status\n"
        "print(call('set'), call('clear'), get)\n"
    )
    answer = platform.kubectl("exec", f"deployment/{platform.release}-relay", "--", "python", "-c", code)
    assert answer.split() == ["403", "403", "200"]
