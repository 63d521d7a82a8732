"""Whatever names something else in the chart names something that is there."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.charts.objects import Pod, containers, environment, named, of_kind, pods, selects
from tests.charts.rendering import MATRIX, NAMESPACE, Case, Object, cases, rendered

REVISIONS = {
    "Deployment": "pod-template-hash",
    "StatefulSet": "controller-revision-hash",
    "RestateService": "tandem.dev/revision",
}
PARAMETRIZED = pytest.mark.parametrize("case", MATRIX, ids=str)


@PARAMETRIZED
def test_workloads_select_their_own_pods_and_no_others(case: Case) -> None:
    objects = rendered(case)
    every = list(pods(objects))
    for owner in of_kind(objects, "Deployment", "StatefulSet"):
        chosen = [pod for pod in every if selects(owner["spec"]["selector"], pod.labels)]
        assert [pod.owner for pod in chosen] == [owner]


@PARAMETRIZED
def test_services_reach_a_port_of_some_pod(case: Case) -> None:
    objects = rendered(case)
    for service in of_kind(objects, "Service"):
        chosen = _chosen(objects, {"matchLabels": service["spec"]["selector"]})
        for port in service["spec"]["ports"]:
            assert all(port["targetPort"] in _ports(pod) for pod in chosen), service["metadata"]["name"]
    for workload in of_kind(objects, "StatefulSet"):
        named(objects, "Service", workload["spec"]["serviceName"])


@PARAMETRIZED
def test_policies_and_budgets_hold_some_pod(case: Case) -> None:
    objects = rendered(case)
    absent = {"migrate"} if case.values.get("migrations", {}).get("enabled") is False else set()
    absent |= {"service"} if not of_kind(objects, "RestateService") else set()
    for one in of_kind(objects, "NetworkPolicy", "PodDisruptionBudget"):
        selector = one["spec"].get("podSelector") or one["spec"]["selector"]
        if selector.get("matchLabels", {}).get("app.kubernetes.io/component") in absent:
            continue
        chosen = _chosen(objects, selector)
        ports = [port["port"] for rule in one["spec"].get("ingress", []) for port in rule.get("ports", [])]
        assert all(port in _ports(pod) for pod in chosen for port in ports), one["metadata"]["name"]


@PARAMETRIZED
def test_pods_spread_over_what_is_like_them(case: Case) -> None:
    for pod in pods(rendered(case)):
        for constraint in pod.spec.get("topologySpreadConstraints", []):
            assert selects(constraint["labelSelector"], pod.labels), str(pod)
            # Else the pods of an old revision count, and those of the new one go where they are not.
            assert constraint["matchLabelKeys"] == [REVISIONS[pod.owner["kind"]]]


@PARAMETRIZED
def test_backends_of_an_ingress_are_services(case: Case) -> None:
    objects = rendered(case)
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                service = named(objects, "Service", backend["name"])
                assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}


@PARAMETRIZED
def test_secrets_claims_and_accounts_are_there_or_given_by_name(case: Case) -> None:
    objects, given = rendered(case), set(_texts(case.values))
    made: dict[str, dict[str, Object]] = {}
    for one in objects:
        made.setdefault(one["kind"], {})[one["metadata"]["name"]] = one
    for pod in pods(objects):
        for kind, name, key in _named_by(pod):
            where = f"{pod} wants {kind} {name}"
            if name not in made.get(kind, {}):
                assert name in given, where
                assert key is None or key in given | DEFAULT_KEYS, f"{where}, key {key}"
            elif key is not None:
                one = made[kind][name]
                assert key in one.get("stringData", {}) | one.get("data", {}), f"{where}, key {key}"


DEFAULT_KEYS = {"DATABASE_URL", "TANDEM_BROKER_URL", "SECRET_KEY", "FLOWER_BASIC_AUTH", "public", "private.pem"}


@PARAMETRIZED
def test_volumes_are_mounted_and_mounts_are_volumes(case: Case) -> None:
    for pod in pods(rendered(case)):
        claimed = {claim["metadata"]["name"] for claim in pod.owner["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in pod.spec.get("volumes", [])} | claimed
        mounted = {mount["name"] for one in containers(pod) for mount in one.get("volumeMounts", [])}
        assert volumes == mounted, str(pod)


@pytest.mark.parametrize("case", cases("tandem"), ids=str)
def test_addresses_inside_the_release_are_services_with_that_port(case: Case) -> None:
    objects = rendered(case)
    services = {one["metadata"]["name"]: one for one in of_kind(objects, "Service")}
    claims = {one["metadata"]["name"]: one["spec"]["replicas"] for one in of_kind(objects, "StatefulSet")}
    given = set(_texts(case.values))
    for text in _addresses(objects):
        url = urlsplit(text)
        assert url.hostname
        parts = url.hostname.split(".")
        if text in given or url.hostname in given:
            continue
        if len(parts) > 1 and parts[1] in services:
            name, _, number = parts.pop(0).rpartition("-")
            assert int(number) < claims[name], text
        assert parts[0] in services, text
        assert parts[1:] in ([], [NAMESPACE, "svc"]), text
        ports = {port["port"] for port in services[parts[0]]["spec"]["ports"]}
        assert (url.port or 80) in ports, text


@PARAMETRIZED
def test_restate_services_find_restate(case: Case) -> None:
    objects = rendered(case)
    for one in of_kind(objects, "RestateService"):
        if reference := one["spec"]["restate"].get("service"):
            service = named(objects, "Service", reference["name"])
            assert reference["port"] in {port["port"] for port in service["spec"]["ports"]}
        (pod,) = pods([one])
        assert one["spec"]["endpoint"]["port"] in _ports(pod).values()


def _chosen(objects: tuple[Object, ...], selector: Object) -> list[Pod]:
    chosen = [pod for pod in pods(objects) if selects(selector, pod.labels)]
    assert chosen, f"{selector} selects no pod"
    return chosen


def _ports(pod: Pod) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for one in containers(pod) for port in one.get("ports", [])}


def _named_by(pod: Pod) -> Iterator[tuple[str, str, str | None]]:
    """Kind, name and, where one is wanted, key of all that a pod needs beside itself."""
    yield "ServiceAccount", pod.spec["serviceAccountName"], None
    for secret in pod.spec.get("imagePullSecrets", []):
        yield "Secret", secret["name"], None
    for one in containers(pod):
        yield from _named_by_container(one)
    for volume in pod.spec.get("volumes", []):
        if "secret" in volume:
            for item in volume["secret"]["items"]:
                yield "Secret", volume["secret"]["secretName"], item["key"]
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"], None
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], None


def _named_by_container(of: Object) -> Iterator[tuple[str, str, str | None]]:
    for source in environment(of).values():
        if isinstance(source, dict) and (reference := source.get("secretKeyRef")):
            yield "Secret", reference["name"], reference["key"]
    for source in of.get("envFrom", []):
        for field, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
            if field in source:
                yield kind, source[field]["name"], None


def _addresses(objects: tuple[Object, ...]) -> set[str]:
    """Every URL in a pod, a Secret, a scaler or a RestateService, but for those that people see."""
    found = set()
    for one in of_kind(objects, "Secret", "ScaledObject", "RestateService", "Deployment", "StatefulSet", "Job", "Pod"):
        for text in _texts({name: part for name, part in one.items() if name != "metadata"}):
            plain = text.replace("$(POD_NAME)", f"{one['metadata']['name']}-0")
            found |= {match.rstrip('"]') for match in re.findall(r'(?:https?|redis|postgresql)://[^\s",]+', plain)}
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _texts(key)
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value
