"""What is there already: Helm asks an API server, which here has a few objects and nothing else."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tandem.probes.health import Answer, Route, listen
from tests.charts.objects import of_kind
from tests.charts.rendering import MINIMAL, NAMESPACE, RELEASE, Object, Refused, render

KINDS: Final = {
    "v1": ["ConfigMap", "PersistentVolumeClaim", "Pod", "Secret", "Service", "ServiceAccount"],
    "apps/v1": ["Deployment", "StatefulSet"],
    "batch/v1": ["Job"],
    "keda.sh/v1alpha1": ["ScaledObject"],
    "networking.k8s.io/v1": ["NetworkPolicy"],
    "policy/v1": ["PodDisruptionBudget"],
    "tandem.dev/v1alpha1": ["RestateService"],
}


def made(version: str, kind: str, name: str, /, component: str = "", **rest: Any) -> Object:
    labels = {"app.kubernetes.io/instance": RELEASE, "app.kubernetes.io/component": component}
    labels["app.kubernetes.io/managed-by"] = "Helm"
    owner = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": NAMESPACE}
    metadata = {"name": f"{RELEASE}-{name}", "namespace": NAMESPACE, "labels": labels, "annotations": owner}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def claim(**spec: Any) -> Object:
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}, **spec}


def volume(component: str, *claims: Object) -> Object:
    return made("apps/v1", "StatefulSet", component, spec={"volumeClaimTemplates": [{"spec": one} for one in claims]})


def routes(objects: tuple[Object, ...]) -> Mapping[str, Route]:
    """The addresses that Helm asks of an API server."""

    def route(found: object) -> Route:
        answer = Answer(body=json.dumps(found), kind="application/json")
        return lambda _: answer

    groups = [
        {"name": group, "versions": [{"groupVersion": f"{group}/{version}", "version": version}]}
        for group, slash, version in (each.partition("/") for each in KINDS)
        if slash
    ]
    found: dict[str, object] = {
        "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.2"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
    }
    for version, kinds in KINDS.items():
        at = f"/apis/{version}" if "/" in version else f"/api/{version}"
        names = {kind: f"{kind.lower().removesuffix('y')}{'ies' if kind.endswith('y') else 's'}" for kind in kinds}
        resources = [
            {"name": name, "kind": kind, "namespaced": True, "verbs": ["get", "list"]} for kind, name in names.items()
        ]
        found[at] = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        for kind, name in names.items():
            items = [one for one in objects if one["kind"] == kind]
            there = f"{at}/namespaces/{NAMESPACE}/{name}"
            found[there] = {"kind": f"{kind}List", "apiVersion": version, "metadata": {}, "items": items}
            found |= {f"{there}/{one['metadata']['name']}": one for one in items}
    return {path: route(content) for path, content in found.items()}


def beside(*objects: Object, **values: Any) -> list[Object]:
    """Render where these objects are."""
    with listen("127.0.0.1:0", routes(objects), option="--bind") as server:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        return render(
            MINIMAL, "--dry-run=server", "--kube-apiserver", address, "--disable-openapi-validation", **values
        )


@pytest.mark.parametrize(
    ("there", "given", "message"),
    [
        (
            volume("postgres", claim()),
            {"postgres__storage__size": "20Gi"},
            "postgres.storage.size is 20Gi, but Stateful",
        ),
        (
            volume("postgres", claim()),
            {"postgres__storage__storageClassName": "fast"},
            'storageClassName is "fast", but',
        ),
        (volume("postgres", claim()), {"postgres__storage__enabled": False}, "postgres.storage.enabled is false, but"),
        (
            volume("restate"),
            {},
            "restate.storage.enabled is true, but StatefulSet trial-restate was made with it false",
        ),
        (volume("restate", claim()), {"restate__storage__size": "5Gi"}, "restate.storage.size is 5Gi, but StatefulSet"),
        (made("v1", "ConfigMap", "restate", data={"trial-restate-0.toml": ""}), {"restate__nodes": 3}, "made with 1"),
        (made("v1", "Secret", "postgres", data={"password": "b2xk"}), {"postgres__password": "new"}, "than the volume"),
        (
            made("v1", "Secret", "redis", data={"password": "b2xk"}),
            {"redis__password": "new"},
            "than the pods of Redis",
        ),
        (
            made("v1", "PersistentVolumeClaim", "media", spec=claim()),
            {"media": {"enabled": True}},
            "media.accessModes is",
        ),
        (
            made("v1", "PersistentVolumeClaim", "media", spec=claim()),
            {"media": {"enabled": True, "size": "1Gi", "accessModes": ["ReadWriteOnce"]}},
            "media.size is 1Gi, but PersistentVolumeClaim trial-media has 10Gi",
        ),
        (made("apps/v1", "Deployment", "relay", "relay"), {"fullnameOverride": "shop"}, "the release has trial-relay"),
    ],
    ids=str,
)
def test_what_can_never_change_is_named_first(there: Object, given: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as caught:
        beside(there, **given)
    assert message in str(caught.value)


def test_what_is_as_it_was_or_may_grow_is_left_alone() -> None:
    there = (
        volume("postgres", claim()),
        volume("restate", claim(resources={"requests": {"storage": "10240Mi"}})),
        made("v1", "ConfigMap", "restate", data={"trial-restate-0.toml": ""}),
        made("v1", "PersistentVolumeClaim", "media", spec=claim(storageClassName="standard")),
        made("apps/v1", "Deployment", "relay", "relay"),
    )
    assert beside(*there, media={"enabled": True, "size": "20Gi", "accessModes": ["ReadWriteOnce"]})


def test_an_upgrade_takes_away_the_jobs_that_failed_ones_left() -> None:
    jobs = [made("batch/v1", "Job", "migrate-2-abc", "migrate", status={"failed": 3})]
    jobs += [made("batch/v1", "Job", "migrate-3-abc", "migrate", status={"active": 1, "ready": 0})]
    jobs += [made("batch/v1", "Job", "migrate-4-abc", "migrate", status={"active": 1, "ready": 1})]
    jobs += [made("batch/v1", "Job", "nightly", status={"failed": 3})]
    hooks = [one for one in of_kind(beside(*jobs), "Job") if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    # What may still migrate goes on.
    assert [one["metadata"]["name"] for one in hooks] == ["trial-migrate-2-abc", "trial-migrate-3-abc"]
    for one in hooks:
        assert one["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
        assert "before-hook-creation,hook-succeeded" in one["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        assert one["spec"]["completions"] == 0
