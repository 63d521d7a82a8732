from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.charts.objects import container, environment, named, of_kind, pods
from tests.charts.rendering import MINIMAL, Object, case, render, rendered


def pool(**options: object) -> tuple[Object, ...]:
    return tuple(render(MINIMAL, workers__emails={"queues": ["emails", "mail.low"], **options}))


def option(of: Object, name: str) -> str:
    return str(of["args"][of["args"].index(name) + 1])


def test_a_pool_scales_on_the_work_of_its_own_queues_divided_by_its_concurrency() -> None:
    (trigger,) = named(pool(concurrency=6), "ScaledObject", "trial-worker-emails")["spec"]["triggers"]
    assert trigger["type"] == "metrics-api"
    url = urlsplit(trigger["metadata"]["url"])
    assert (url.netloc, url.path) == ("trial-exporter.demo.svc:8082", "/scaling/celery")
    assert parse_qs(url.query) == {"queues": ["emails,mail.low"]}
    # A text each: a plain n or 6 would be read as something else, and refused.
    assert {name: trigger["metadata"][name] for name in ("valueLocation", "targetValue")} == {
        "valueLocation": "work",
        "targetValue": "6",
    }


def test_a_pool_starts_from_nothing_and_outlives_the_exporter() -> None:
    scaling = {"minReplicas": 0, "maxReplicas": 9, "pollingInterval": 3, "cooldownPeriod": 30, "fallbackReplicas": 2}
    spec = named(pool(scaling=scaling), "ScaledObject", "trial-worker-emails")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 9)
    assert (spec["pollingInterval"], spec["cooldownPeriod"]) == (3, 30)
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 2, "behavior": "currentReplicasIfHigher"}
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down == {"stabilizationWindowSeconds": 30}


def test_a_pool_of_a_fixed_size_has_no_autoscaler() -> None:
    objects = pool(scaling={"replicas": 3})
    assert named(objects, "Deployment", "trial-worker-emails")["spec"]["replicas"] == 3
    assert [one["metadata"]["name"] for one in of_kind(objects, "ScaledObject")] == ["trial-worker-default"]


def test_a_pool_may_have_no_pods_at_all() -> None:
    assert named(pool(scaling={"replicas": 0}), "Deployment", "trial-worker-emails")["spec"]["replicas"] == 0


def test_an_option_of_a_pool_is_its_own() -> None:
    objects = pool(concurrency=7, pool="threads", extraArgs=["--events"])
    ours = container(objects, "Deployment", "trial-worker-emails")
    other = container(objects, "Deployment", "trial-worker-default")
    assert (option(ours, "--concurrency"), option(other, "--concurrency")) == ("7", "2")
    assert (option(ours, "--pool"), option(other, "--pool")) == ("threads", "prefork")
    assert (option(ours, "--queues"), option(other, "--queues")) == ("emails,mail.low", "default")
    assert ours["args"][-1] == "--events"


@pytest.mark.parametrize("name", ["workers", "services"])
def test_what_is_not_enabled_is_left_out(name: str) -> None:
    left_out: dict[str, Any] = {f"{name}__default__enabled": False}
    objects = render(MINIMAL, **left_out)
    assert of_kind(objects, "RestateService" if name == "services" else "ScaledObject") == []


@pytest.mark.parametrize("kind", ["Deployment", "RestateService"])
def test_a_pod_that_ends_gives_its_bodies_their_time(kind: str) -> None:
    limits = {"timeLimit": 600, "grace": 20}
    objects = render(MINIMAL, workerDefaults=limits, serviceDefaults=limits)
    name = "trial-worker-default" if kind == "Deployment" else "trial"
    (pod,) = pods([named(objects, kind, name)])
    bodies = float(option(pod.spec["containers"][0], "--grace"))
    assert bodies == 620
    assert pod.spec["terminationGracePeriodSeconds"] > bodies + 10


def test_a_service_scales_by_revision_on_its_own_concurrency() -> None:
    (service,) = of_kind(render(MINIMAL, services__default__concurrency=12), "RestateService")
    assert service["spec"]["scaling"] == {
        "minReplicas": 1,
        "maxReplicas": 4,
        "concurrency": 12,
        "metricsUrl": "http://trial-exporter.demo.svc:8082/scaling/restate",
        "pollingInterval": 5,
        "cooldownPeriod": 60,
        "fallbackReplicas": 1,
    }
    assert option(service["spec"]["template"]["spec"]["containers"][0], "--concurrency") == "12"


def test_a_service_keeps_its_revision_when_only_the_scaling_changes() -> None:
    one, other = (
        of_kind(render(MINIMAL, services__default__scaling__maxReplicas=most), "RestateService")[0]["spec"]
        for most in (2, 20)
    )
    assert one["scaling"] != other["scaling"]
    assert (one["template"], one["endpoint"]) == (other["template"], other["endpoint"])


def test_a_pod_template_names_no_version_of_the_chart() -> None:
    for pod in pods(render(MINIMAL)):
        if pod.owner["kind"] != "Pod":
            assert not {"helm.sh/chart", "app.kubernetes.io/version"} & pod.labels.keys(), str(pod)


def test_the_site_loses_no_request_when_its_pods_are_replaced() -> None:
    web = named(render(MINIMAL), "Deployment", "trial-web")
    assert web["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    (pod,) = pods([web])
    (gunicorn,) = pod.spec["containers"]
    assert gunicorn["lifecycle"]["preStop"] == {"sleep": {"seconds": 2}}
    assert pod.spec["terminationGracePeriodSeconds"] > 2 + int(option(gunicorn, "--grace"))


def test_check_is_told_what_has_no_pods_while_it_has_no_work() -> None:
    def told(objects: Iterable[Object]) -> str:
        return str(environment(container(objects, "Deployment", "shop-relay"))["TANDEM_SCALED_TO_ZERO"])

    all_values = case("tandem", "all")
    assert told(rendered(all_values)) == "celery/default"
    idle = {"minReplicas": 0, "replicas": None}
    values: dict[str, Any] = {f"workers__{name}__scaling": idle for name in ("files", "fixed")}
    values |= {f"services__{name}__scaling": idle for name in ("default", "reports")}
    everything = "celery/default,celery/files,celery/large-files,celery/nightly,celery,restate"
    assert told(render(all_values, **values)) == everything
