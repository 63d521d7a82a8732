import re
import subprocess
import sys
from http import HTTPStatus
from typing import Any

import pytest

from tandem.probes.health import Answer, Route, listen
from tests.charts.objects import Pod, containers, environment, of_kind, pods
from tests.charts.rendering import MATRIX, MINIMAL, Case, Object, cases, rendered
from tests.charts.rendering import case as case_of
from tests.charts.restricted import violations

DJANGO = {"web", "worker", "service", "relay", "exporter", "migrate"}


@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_every_pod_keeps_to_the_restricted_profile(case: Case) -> None:
    assert [f"{pod}: {problem}" for pod in pods(rendered(case)) for problem in violations(pod)] == []


@pytest.mark.parametrize(
    "broken",
    [
        {"hostNetwork": True},
        {"securityContext": {}},
        {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]},
        {"initContainers": [{"name": "bare"}]},
    ],
    ids=str,
)
def test_a_pod_that_breaks_the_profile_is_found(broken: Object) -> None:
    (pod, *_) = pods(rendered(cases("tandem")[0]))
    assert list(violations(Pod(owner=pod.owner, labels=pod.labels, spec={**pod.spec, **broken})))


@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_only_the_registrar_has_a_token(case: Case) -> None:
    for pod in pods(rendered(case)):
        assert pod.spec["automountServiceAccountToken"] is (case.chart == "tandem-registrar"), pod
    for account in of_kind(rendered(case), "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_every_container_says_what_it_needs_and_why_it_ended(case: Case) -> None:
    for pod in pods(rendered(case)):
        for one in containers(pod):
            where = f"{pod}, {one['name']}"
            assert {"cpu", "memory"} <= one["resources"]["requests"].keys(), where
            assert "memory" in one["resources"]["limits"], where
            assert one["terminationMessagePolicy"] == "FallbackToLogsOnError", where
            assert re.search(r":(?!latest$)[^:/]+$", one["image"]), where
            assert one["imagePullPolicy"] in {"Always", "IfNotPresent"}, where


@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_every_container_that_stays_has_its_probes(case: Case) -> None:
    for pod in pods(rendered(case)):
        if pod.owner["kind"] in {"Job", "Pod"}:
            continue
        for one in pod.spec["containers"]:
            ports = {port["name"] for port in one["ports"]}
            for name in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = one[name]
                action = probe.get("httpGet") or probe.get("tcpSocket")
                assert action is None or action["port"] in ports, f"{pod}, {name}"
                assert probe.get("timeoutSeconds", 1) >= 3 or "tcpSocket" in probe, f"{pod}, {name}"
            if pod.component in DJANGO:
                # It waits: one that failed each second would be as many Warning events.
                *_, port, seconds = one["startupProbe"]["exec"]["command"]
                assert int(seconds) == one["startupProbe"]["timeoutSeconds"]
                assert int(port) in {each["containerPort"] for each in one["ports"]}
                assert one["startupProbe"]["failureThreshold"] == 1


@pytest.mark.parametrize("case", cases("tandem"), ids=str)
def test_alive_and_ready_are_told_apart(case: Case) -> None:
    for pod in pods(rendered(case)):
        if pod.component in DJANGO - {"migrate"}:
            (one,) = pod.spec["containers"]
            assert one["livenessProbe"]["httpGet"]["path"] == "/-/alive"
            assert one["readinessProbe"]["httpGet"]["path"] == "/-/ready"


def test_a_process_that_is_alive_and_not_ready_has_started_within_its_time() -> None:
    """As where the broker is away: to start it again would not help."""
    (pod, *_) = (pod for pod in pods(rendered(MINIMAL)) if pod.component == "relay")
    (one,) = pod.spec["containers"]
    _, *words, _, _ = one["startupProbe"]["exec"]["command"]
    routes: dict[str, Route] = {
        "/-/alive": lambda _: Answer(body="alive"),
        "/-/ready": lambda _: Answer(status=HTTPStatus.SERVICE_UNAVAILABLE, body="not ready"),
    }
    with listen("127.0.0.1:0", routes, option="--bind") as server:
        subprocess.run([sys.executable, *words, str(server.server_address[1]), "8"], check=True, timeout=8)


@pytest.mark.parametrize("case", cases("tandem"), ids=str)
def test_every_django_pod_checks_what_it_needs_first(case: Case) -> None:
    found = {pod.component: pod for pod in pods(rendered(case)) if pod.component in DJANGO}
    assert {"relay", "exporter", "service" if "restate-values" in case.file.name else "worker"} <= found.keys()
    for component, pod in found.items():
        secrets, required = pod.spec["initContainers"]
        assert [secrets["name"], required["name"]] == ["check-secrets", "check-required"]
        later = [] if component == "migrate" else ["migrations"]
        own = ["services"] if component == "service" else []
        words = ["tandem", "require", "routes", *own, "database", *later]
        assert [word for word in required["args"] if not word.startswith("--")] == words


@pytest.mark.parametrize("case", cases("tandem"), ids=str)
def test_each_variable_from_a_secret_is_checked_and_may_be_missing(case: Case) -> None:
    for pod in pods(rendered(case)):
        if not pod.spec.get("initContainers"):
            continue
        first, *rest = containers(pod)
        checked = set(environment(first))
        assert all(f"check {name} " in first["args"][0] for name in checked)
        for one in rest:
            given = case.values.get("extraEnv", [])
            wanted = {name: value for name, value in environment(one).items() if _from_secret(value)}
            assert set(wanted) - {extra["name"] for extra in given} <= checked, f"{pod}, {one['name']}"
            assert all(wanted[name]["secretKeyRef"]["optional"] for name in set(wanted) & checked)


def test_restate_alone_asks_for_no_broker_and_waits_for_no_worker() -> None:
    objects = rendered(case_of("tandem", "restate"))
    assert {pod.component for pod in pods(objects)} & {"worker", "redis"} == set()
    for pod in pods(objects):
        for one in containers(pod):
            assert "TANDEM_BROKER_URL" not in environment(one), pod
            assert "celery" not in str(environment(one).get("TANDEM_SCALED_TO_ZERO", "")), pod


def test_a_missing_secret_is_named_with_the_command_that_makes_it() -> None:
    (web,) = (pod for pod in pods(rendered(case_of("tandem", "external"))) if pod.component == "web")
    check = web.spec["initContainers"][0]
    present = {"SECRET_KEY": "s", "TANDEM_BROKER_URL": "b", "TANDEM_RESTATE_IDENTITY_KEYS": "k"}
    answer = _run(check, present)
    assert answer.returncode == 1
    assert "Secret shop-database has no key url, or does not exist in namespace demo" in answer.stderr
    assert "create secret generic shop-database --from-literal=url=VALUE" in answer.stderr
    assert "shop-broker" not in answer.stderr
    assert _run(check, {**present, "DATABASE_URL": "d'$(false)"}).returncode == 0


def _run(container: Object, variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [*container["command"], *container["args"]]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=10, check=False)


@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_nothing_that_scales_has_replicas(case: Case) -> None:
    objects = rendered(case)
    scalers = of_kind(objects, "ScaledObject", "HorizontalPodAutoscaler")
    scaled = {scaler["spec"]["scaleTargetRef"]["name"] for scaler in scalers}
    deployments = of_kind(objects, "Deployment")
    assert scaled <= {one["metadata"]["name"] for one in deployments}
    for one in deployments:
        assert ("replicas" in one["spec"]) is (one["metadata"]["name"] not in scaled), one["metadata"]["name"]
    for service in of_kind(objects, "RestateService"):
        scaling = service["spec"]["scaling"]
        assert ("replicas" in scaling) is ("minReplicas" not in scaling)


def test_a_small_node_has_room_for_all_of_it() -> None:
    scaled = {"worker": 1, "service": 1}
    cpu = memory = 0.0
    for pod in pods(rendered(MINIMAL)):
        if pod.owner["kind"] == "Pod":
            continue
        several = scaled.get(pod.component) or pod.owner["spec"].get("replicas", 1)
        cpu += several * max(_quantity(one["resources"]["requests"]["cpu"]) for one in containers(pod))
        memory += several * max(_quantity(one["resources"]["requests"]["memory"]) for one in containers(pod))
    assert cpu < 1.2
    assert memory < 2.5 * 2**30


def _quantity(text: str) -> float:
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text).groups()  # type: ignore[union-attr]  # the schema says so
    return float(number) * {"": 1, "m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[unit]


def _from_secret(value: Any) -> bool:
    return isinstance(value, dict) and "secretKeyRef" in value
