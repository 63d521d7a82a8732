"""Who may talk to whom, asked of the rendered NetworkPolicies as the cluster's network would."""

import pytest

from tests.charts.objects import Pod, of_kind, pods, selects
from tests.charts.rendering import NAMESPACE, Object, case, rendered

OBJECTS = rendered(case("tandem", "all"))
PODS = {pod.component: pod for pod in pods(OBJECTS)}
DJANGO = {"web", "worker", "service", "relay", "exporter", "migrate", "test"}
OUTSIDE = {"app.kubernetes.io/name": "stranger"}
REGISTRAR = {"app.kubernetes.io/name": "tandem-registrar"}


def reaches(labels: dict[str, str], namespace: str, to: Pod, port: str) -> bool:
    policies = [one["spec"] for one in of_kind(OBJECTS, "NetworkPolicy") if "Ingress" in one["spec"]["policyTypes"]]
    policies = [spec for spec in policies if selects(spec["podSelector"], to.labels)]
    assert policies, f"no policy holds {to}"
    return any(
        "from" not in rule or any(takes(peer, labels, namespace) for peer in rule["from"])
        for spec in policies
        for rule in spec["ingress"]
        if port in [one["port"] for one in rule["ports"]]
    )


def takes(peer: Object, labels: dict[str, str], namespace: str) -> bool:
    elsewhere = peer.get("namespaceSelector")
    there = (
        namespace == NAMESPACE if elsewhere is None else selects(elsewhere, {"kubernetes.io/metadata.name": namespace})
    )
    return there and selects(peer.get("podSelector", {}), labels)


def callers(to: str, port: str) -> set[str]:
    return {name for name, pod in PODS.items() if reaches(pod.labels, NAMESPACE, PODS[to], port)}


@pytest.mark.parametrize(
    ("to", "port", "allowed"),
    [
        ("restate", "admin", {"relay", "exporter"}),
        ("restate", "ingress", DJANGO),
        ("restate", "node", {"restate"}),
        ("service", "restate", {"restate"}),
        ("postgres", "postgres", DJANGO),
        ("redis", "redis", DJANGO | {"flower"}),
        ("exporter", "http", {"test"}),
        ("web", "http", {"test"}),
        ("flower", "http", set()),
        ("worker", "health", set()),
        ("relay", "health", set()),
    ],
)
def test_only_these_parts_of_a_release_reach_it(to: str, port: str, allowed: set[str]) -> None:
    assert callers(to, port) == allowed


def test_the_registrar_reaches_the_admin_api_from_its_own_namespace_alone() -> None:
    assert reaches(REGISTRAR, "operators", PODS["restate"], "admin")
    assert not reaches(REGISTRAR, "operators", PODS["restate"], "ingress")
    # A label can be worn by anybody's pods.
    for namespace in (NAMESPACE, "thief"):
        assert not reaches(REGISTRAR, namespace, PODS["restate"], "admin")


def test_nobody_else_reaches_the_admin_api() -> None:
    for namespace in (NAMESPACE, "operators", "keda-system"):
        assert not reaches(OUTSIDE, namespace, PODS["restate"], "admin")


def test_a_release_that_shares_restate_is_let_in_where_it_is_named() -> None:
    named = {**PODS["relay"].labels, "app.kubernetes.io/instance": "billing"}
    assert reaches(named, NAMESPACE, PODS["restate"], "admin")
    assert not reaches(named, "elsewhere", PODS["restate"], "admin")


def test_another_release_reaches_nothing() -> None:
    labels = {**PODS["relay"].labels, "app.kubernetes.io/instance": "other"}
    assert not any(
        reaches(labels, NAMESPACE, PODS[to], port)
        for to, port in (("restate", "admin"), ("postgres", "postgres"), ("redis", "redis"), ("service", "restate"))
    )


def test_keda_reaches_the_exporter() -> None:
    assert reaches({"app": "keda-operator"}, "keda-system", PODS["exporter"], "http")
    assert not reaches({"app": "keda-operator"}, "elsewhere", PODS["exporter"], "http")


def test_named_peers_are_let_in() -> None:
    assert reaches(OUTSIDE, "ingress", PODS["web"], "http")
    assert not reaches(OUTSIDE, "elsewhere", PODS["web"], "http")
    assert reaches({"example.com/role": "proxy"}, NAMESPACE, PODS["flower"], "http")


def test_held_egress_leaves_names_and_the_release() -> None:
    (policy,) = (one["spec"] for one in of_kind(OBJECTS, "NetworkPolicy") if one["spec"]["policyTypes"] == ["Egress"])
    assert all(selects(policy["podSelector"], PODS[name].labels) for name in DJANGO)
    names, release, given = policy["egress"]
    assert {(port["port"], port["protocol"]) for port in names["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert all(takes(peer, PODS["postgres"].labels, NAMESPACE) for peer in release["to"])
    assert given == {"ports": [{"port": 587}]}


def test_the_registrar_is_reached_by_nobody_unless_named() -> None:
    for name, rules in (("default", 0), ("namespaces", 1)):
        (policy,) = of_kind(rendered(case("tandem-registrar", name)), "NetworkPolicy")
        assert len(policy["spec"]["ingress"]) == rules
