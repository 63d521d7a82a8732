"""Reading a spec: what is left out has a default, and what cannot be used is named with its value."""

from collections.abc import Mapping
from typing import Any

import pytest

from registrar.options import InvalidOption, Options
from registrar.revisions import address, own_address, revision_of
from registrar.specification import Elastic, Fixed, InvalidSpecification, parse

CONTAINERS = {"spec": {"containers": [{"name": "main", "image": "one"}]}}
ELASTIC = {"maxReplicas": 4, "concurrency": 8, "metricsUrl": "http://exporter/scaling"}


def spec(**changed: Any) -> Mapping[str, Any]:
    return {
        "restate": {"service": {"name": "restate"}},
        "template": CONTAINERS,
        "scaling": {"replicas": 2},
        **changed,
    }


def test_what_is_left_out_has_its_default() -> None:
    found = parse(spec(), namespace="here")
    assert found.admin_url == "http://restate.here.svc:9070"
    assert (found.endpoint.port, found.endpoint.path, found.endpoint.protocol) == (9080, "", "http2")
    assert found.scaling == Fixed(replicas=2)
    assert (found.history_limit, found.drain_delay, found.progress_deadline) == (3, 300, 300)


def test_restate_may_be_elsewhere() -> None:
    service = {"name": "restate", "namespace": "there", "port": 19070}
    assert parse(spec(restate={"service": service}), namespace="here").admin_url == "http://restate.there.svc:19070"
    assert parse(spec(restate={"url": "https://r.example/"}), namespace="here").admin_url == "https://r.example"


def test_keda_scales_from_one_unless_told_otherwise() -> None:
    scaling = parse(spec(scaling=ELASTIC), namespace="here").scaling
    assert scaling == Elastic(minimum=1, maximum=4, concurrency=8, metrics_url="http://exporter/scaling")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"restate": {}}, "spec.restate: {} must have exactly one of service and url"),
        ({"restate": {"url": "http://r", "service": {"name": "r"}}}, "exactly one"),
        ({"restate": {"url": "r:9070"}}, "spec.restate.url: 'r:9070'"),
        ({"restate": {"service": {}}}, "spec.restate.service: {} must have the name"),
        ({"restate": {"service": {"name": "r", "port": 70000}}}, "spec.restate.service.port: 70000"),
        ({"template": None}, "spec.template: None is no object"),
        ({"template": {"spec": {"containers": []}}}, "spec.template.spec.containers: []"),
        ({"endpoint": {"path": "x"}}, "spec.endpoint.path: 'x'"),
        ({"endpoint": {"protocol": "grpc"}}, "spec.endpoint.protocol: 'grpc'"),
        ({"endpoint": {"additionalHeaders": {"a": 1}}}, "spec.endpoint.additionalHeaders: {'a': 1}"),
        ({"metadata": {"build": 7}}, "spec.metadata: {'build': 7}"),
        ({"scaling": {}}, "spec.scaling: {} must have either"),
        ({"scaling": {"replicas": 1, **ELASTIC}}, "must have either"),
        ({"scaling": {"replicas": 0}}, "spec.scaling.replicas: 0"),
        ({"scaling": {"replicas": True}}, "spec.scaling.replicas: True"),
        ({"scaling": {**ELASTIC, "minReplicas": 5}}, "spec.scaling.maxReplicas: 4 is less than minReplicas, 5"),
        ({"scaling": {**ELASTIC, "metricsUrl": "x"}}, "spec.scaling.metricsUrl: 'x'"),
        ({"scaling": {"maxReplicas": 3, "metricsUrl": "http://x"}}, "spec.scaling.concurrency: None"),
        ({"restate": {"url": "http://[r:9070"}}, "spec.restate.url: 'http://[r:9070' is no address"),
        ({"takeOver": "mail"}, "spec.takeOver: 'mail' is no list of names"),
        ({"siblings": [1]}, "spec.siblings: [1] is no list of names"),
        ({"deletionPolicy": "Maybe"}, "spec.deletionPolicy: 'Maybe' is none of Wait, Cancel and LetGo"),
        ({"drainDelaySeconds": -1}, "spec.drainDelaySeconds: -1"),
        ({"progressDeadlineSeconds": 0}, "spec.progressDeadlineSeconds: 0"),
    ],
)
def test_what_cannot_be_used_is_named(changed: Mapping[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpecification) as raised:
        parse(spec(**changed), namespace="here")
    assert words in str(raised.value)


def test_only_what_runs_and_how_it_is_spoken_to_makes_a_revision() -> None:
    one = parse(spec(), namespace="here")
    same = parse(spec(metadata={"git": "x"}, scaling=ELASTIC, drainDelaySeconds=1), namespace="here")
    assert revision_of(one) == revision_of(same)
    for changed in (
        {"template": {"spec": {"containers": [{"name": "main", "image": "two"}]}}},
        {"endpoint": {"port": 9081}},
        {"endpoint": {"path": "/restate"}},
        {"endpoint": {"protocol": "http1"}},
        {"endpoint": {"additionalHeaders": {"x-a": "b"}}},
    ):
        assert revision_of(parse(spec(**changed), namespace="here")) != revision_of(one), changed


def test_an_address_is_known_by_its_own_service_alone() -> None:
    found = parse(spec(endpoint={"path": "/restate"}), namespace="here")
    uri = address("shop", "here", revision_of(found), found.endpoint)
    assert uri == f"http://shop-{revision_of(found)}.here.svc:9080/restate"
    match = own_address("shop", "here").match(uri)
    assert match
    assert match["revision"] == revision_of(found)
    for name, namespace in (("sho", "here"), ("shop", "there"), ("shop-a", "here")):
        assert not own_address(name, namespace).match(uri)
    assert not own_address("shop", "here").match("http://shop-abc-0123456789.here.svc:9080")


def test_the_environment() -> None:
    assert Options.read({}) == Options(namespaces=[])
    found = Options.read({"REGISTRAR_NAMESPACES": " a, b ,", "REGISTRAR_PORT": "81", "REGISTRAR_LOG_LEVEL": "DEBUG"})
    assert (found.namespaces, found.port, found.log_level) == (["a", "b"], 81, 10)
    for name, value in (("NAMESPACES", "a,B_"), ("PORT", "x"), ("PORT", "70000"), ("LOG_LEVEL", "loud")):
        with pytest.raises(InvalidOption, match=f"REGISTRAR_{name}"):
            Options.read({f"REGISTRAR_{name}": value})
