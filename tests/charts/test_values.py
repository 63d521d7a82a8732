"""What a user may give: all of it is documented, known to the schema and used, and what is wrong is named."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.charts.objects import containers, pods
from tests.charts.rendering import CHARTS, MINIMAL, Case, Object, Refused, case, cases, load, render, rendered

NAMES = sorted(folder.name for folder in CHARTS.iterdir())


def values(chart: str) -> Object:
    return dict(load((CHARTS / chart / "values.yaml").read_text()))


def schema(chart: str) -> Object:
    return dict(json.loads((CHARTS / chart / "values.schema.json").read_text()))


@pytest.mark.parametrize("chart", NAMES)
def test_every_value_has_a_comment(chart: str) -> None:
    lines = (CHARTS / chart / "values.yaml").read_text().splitlines()
    bare = [
        f"{number + 1}: {line}"
        for number, line in enumerate(lines)
        if re.match(r" *[A-Za-z]", line) and " # " not in line and not lines[number - 1].lstrip().startswith("#")
    ]
    assert bare == []


@pytest.mark.parametrize("chart", NAMES)
def test_the_schema_knows_the_values_and_nothing_else(chart: str) -> None:
    known = schema(chart)
    assert set(_paths(values(chart))) - {"workers.default.queues"} <= set(_known(known, known, ""))
    # A subchart is always given `global`.
    assert set(known["properties"]) - {"global"} == set(values(chart))


@pytest.mark.parametrize("chart", NAMES)
def test_the_schema_is_strict(chart: str) -> None:
    assert list(_open(schema(chart), "")) == [
        path for path in _open(schema(chart), "") if path.rpartition(".")[2] in FREE
    ]


# What Kubernetes defines, and its API server checks.
FREE = {"affinity", "global", "valueFrom", "fieldRef", "resourceFieldRef", "items", "services", "workers"}


@pytest.mark.parametrize("chart", NAMES)
def test_every_value_that_a_template_reads_exists(chart: str) -> None:
    paths = set(_paths(values(chart)))
    prefixes = {path.rsplit(".", cut)[0] for path in paths for cut in range(path.count(".") + 1)} | paths
    for template in sorted((CHARTS / chart / "templates").rglob("*.*")):
        for used in re.findall(r"\.Values\.([A-Za-z][A-Za-z.]*[A-Za-z])", template.read_text()):
            assert used in prefixes, f"{template.name} reads {used}"


@pytest.mark.parametrize("chart", NAMES)
def test_every_value_is_read(chart: str) -> None:
    """By its own name, or with all of its group: options of a component are read through a variable."""
    text = "".join(template.read_text() for template in (CHARTS / chart / "templates").rglob("*.*"))
    used = set(re.findall(r"\.([A-Za-z]+)", text))
    for path in _paths(values(chart)):
        whole = "resources" in path.split(".") and "resources" in used
        entry = path.rpartition(".")[2]
        assert whole or entry in used or path == "services.default", path


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"image__repository": ""}, "image.repository is empty: name your project's image"),
    ({"image__repository": "shop:1.4.0"}, "/image/repository"),
    ({"image__tag": ""}, "image.tag is empty"),
    ({"image__tag": "a tag"}, "/image/tag"),
    ({"image__digest": "4f5e"}, "/image/digest"),
    ({"image__pullPolicy": "Sometimes"}, "/image/pullPolicy"),
    ({"django__settingsModule": ""}, "django.settingsModule is empty"),
    ({"django__settingsModule": "shop/settings.py"}, "/django/settingsModule"),
    ({"django__allowedHosts": ["http://shop"]}, "/django/allowedHosts/0"),
    ({"postgres__enabled": False}, "database.existingSecret must name a Secret whose key DATABASE_URL"),
    ({"redis__enabled": False}, "broker.existingSecret must name a Secret whose key TANDEM_BROKER_URL"),
    ({"redis__enabled": False}, "for Restate alone, set workers.NAME.enabled=false of each pool (default)"),
    (
        {"workers__default__enabled": False, "routes": {"shop.*": "celery:5"}},
        'routes has "shop.*=celery:5", but no pool of workers is enabled',
    ),
    (
        {"services__default__enabled": False, "routes": "default=restate"},
        'routes has "default=restate", but no service is enabled',
    ),
    ({"web__ingress": {"enabled": True, "hosts": ["10.0.0.1"]}}, "/web/ingress/hosts/0"),
    ({"web__ingress": {"enabled": True, "hosts": ["a.example", "a.example"]}}, "/web/ingress/hosts"),
    ({"postgres__password": "p@ss"}, "/postgres/password"),
    ({"database__existingSecret": "My_Secret"}, "/database/existingSecret"),
    ({"restate__ingressUrl": "http://restate:8080"}, "set restate.enabled=false"),
    ({"restate__enabled": False}, "services.default needs a Restate"),
    ({"restate__enabled": False, "restate__ingressUrl": "http://restate:8080"}, "go together"),
    ({"restate__enabled": False, "restate__ingressUrl": "restate:8080"}, "/restate/ingressUrl"),
    ({"restate__nodes": 2}, "/restate/nodes"),
    ({"restate__nodes": 3, "restate__storage__enabled": False}, "three nodes need volumes"),
    (
        {"restate__enabled": False, "services__default__enabled": False, "routes": {"default": "restate"}},
        'routes has "default=restate", but there is no Restate: set restate.enabled',
    ),
    (
        {
            "restate__enabled": False,
            "services__default__enabled": False,
            "routes": "default=celery; shop.tasks.*=restate:5",
        },
        'routes has "shop.tasks.*=restate:5", but there is no Restate',
    ),
    ({"restate__environment": {"HOME": "/"}}, "invalid propertyName 'HOME'"),
    ({"web__replicas": "two"}, "at '/web/replicas': got string, want integer"),
    ({"web__replicas": 0}, "/web/replicas"),
    ({"web__ingress__enabled": True}, "web.ingress.enabled needs web.ingress.hosts"),
    (
        {"web__ingress": {"enabled": True, "hosts": ["*.example.com"]}},
        'web.ingress.hosts begins with "*.example.com", which is no address for links',
    ),
    (
        {"web__enabled": False, "web__ingress": {"enabled": True, "hosts": ["a.example.com"]}},
        "web.ingress.enabled needs web.enabled",
    ),
    (
        {"web__autoscaling__enabled": True, "web__resources__requests__cpu": None},
        "web.autoscaling.enabled needs web.resources.requests.cpu",
    ),
    ({"postgres__image__repository": ""}, "postgres.image.repository is empty"),
    ({"web__autoscaling": {"enabled": True, "minReplicas": 20}}, "web.autoscaling.minReplicas is above"),
    ({"web__service__port": 70000}, "/web/service/port"),
    ({"workers__emails": {}}, "missing property 'queues'"),
    ({"workers__emails": {"queues": []}}, "/workers/emails/queues"),
    ({"workers__emails": {"queues": ["a,b"]}}, "/workers/emails/queues/0"),
    ({"workers__emails": {"queues": ["a"], "concurency": 4}}, "additional properties 'concurency' not allowed"),
    ({"workers__emails": {"queues": ["a"], "pool": "gevent"}}, "/workers/emails/pool"),
    ({"workers__Emails": {"queues": ["a"]}}, "invalid propertyName 'Emails'"),
    (
        {"workers__emails": {"queues": ["a"], "scaling": {"minReplicas": 9}}},
        "workers.emails.scaling.minReplicas is 9, which is above maxReplicas, 4",
    ),
    ({"services__default__scaling__minReplicas": 9}, "services.default.scaling.minReplicas is 9"),
    ({"services__emails": {}}, "services.default and services.emails have no take"),
    ({"services__default__take": ["emails"]}, "leave the take of one of default out"),
    (
        {"services__a": {"take": ["emails", "Orders"]}, "services__b": {"take": ["Orders"]}},
        'services.a.take and services.b.take both have "Orders": only one can take it',
    ),
    ({"services__emails": {"take": []}}, "/services/emails/take"),
    ({"services__emails": {"take": ["no spaces"]}}, "/services/emails/take/0"),
    ({"serviceDefaults__take": ["emails"]}, "additional properties 'take' not allowed"),
    ({"restate__prefix": "shop."}, "/restate/prefix"),
    ({"serviceDefaults__protocol": "http3"}, "/serviceDefaults/protocol"),
    ({"routes": {"default": "celery:"}}, "/routes/default"),
    ({"routes": {"default": "restate:250"}}, "/routes/default"),
    ({"routes": {"shop tasks": "restate"}}, "invalid propertyName 'shop tasks'"),
    ({"routes": "default=celery; shop.*=restate:250"}, "/routes"),
    ({"routes": 5}, "/routes"),
    ({"flower__enabled": True}, "flower.enabled needs flower.image.repository"),
    ({"flower__enabled": True, "flower__image": {"repository": "flower"}}, "flower.image.tag is empty"),
    (
        {"flower__enabled": True, "flower__image": {"repository": "flower", "tag": "2"}},
        "flower.enabled needs flower.auth.existingSecret",
    ),
    ({"media__accessModes": []}, "/media/accessModes"),
    ({"runAs__user": 0}, "/runAs/user"),
    ({"tmpSize": "1 GB"}, "/tmpSize"),
    ({"extraEnv": [{"value": "1"}]}, "missing property 'name'"),
    ({"fullnameOverride": "a" * 36}, "/fullnameOverride"),
    ({"worker": {}}, "additional properties 'worker' not allowed"),
    (
        {"web__resources": {"requests": {"memory": "1Gi"}}},
        "web.resources.requests.memory is 1Gi, which is above limits.memory, 512Mi",
    ),
    (
        {"workers__default__resources": {"limits": {"cpu": "50m"}}},
        "workers.default.resources.requests.cpu is 100m, which is above limits.cpu, 50m",
    ),
    (
        {"services__default__resources": {"requests": {"memory": "2Gi"}}},
        "services.default.resources.requests.memory is",
    ),
    ({"resources": {"limits": {"cpu": "40m"}}}, "web.resources.requests.cpu is 50m, which is above limits.cpu, 40m"),
    ({"redis__maxMemory": "512mb"}, "redis.maxMemory is 512mb, but must be below resources.limits.memory, 512Mi"),
    ({"restate__memory": "1.5 GiB"}, "restate.memory is 1.5 GiB, but must be below resources.limits.memory, 1Gi"),
    ({"redis__maxMemory": "0mb"}, "/redis/maxMemory"),
    ({"restate__memory": "0 MiB"}, "/restate/memory"),
    ({"postgres__storage__size": "0Gi"}, "/postgres/storage/size"),
    ({"restate__storage__size": 0}, "/restate/storage/size"),
    ({"media__size": "0.0Gi"}, "/media/size"),
    ({"workers__mail": {"queues": ["a", "default"]}}, 'queue "default" is in workers.default and in workers.mail'),
    ({"extraEnv": [{"name": "ALLOWED_HOSTS"}]}, "The variable ALLOWED_HOSTS is set twice for web"),
    (
        {"extraEnv": [{"name": "A"}], "workers__default__extraEnv": [{"name": "A", "value": "1"}]},
        "The variable A is set twice for workers.default: by the chart, extraEnv or workers.default.extraEnv",
    ),
    (
        {"workers__default__extraArgs": ["--events", "--queues", "mail"]},
        "workers.default.extraArgs has --queues, which the chart gives",
    ),
    (
        {"serviceDefaults__extraArgs": ["--take=emails"]},
        "services.default.extraArgs has --take, which the chart gives",
    ),
    ({"restate__environment": {"RESTATE_NODE_NAME": "a"}}, "restate.environment sets RESTATE_NODE_NAME"),
    ({"extraEnv": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {}}}]}, "/extraEnv/0"),
    ({"extraEnv": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a"}}}]}, "missing property 'key'"),
    ({"extraEnvFrom": [{"secretKeyRef": {"name": "a"}}]}, "additional properties 'secretKeyRef' not allowed"),
    ({"extraEnvFrom": [{"secretRef": "a"}]}, "/extraEnvFrom/0/secretRef"),
    ({"extraVolumes": [{"name": "tmp"}]}, 'The volume "tmp" is there twice'),
    ({"extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}]}, 'mounts "ca", which extraVolumes does not have'),
    (
        {"extraVolumes": [{"name": "ca"}], "extraVolumeMounts": [{"name": "ca", "mountPath": "/tmp"}]},
        '"/tmp" is mounted twice',
    ),
    ({"podLabels": {"team": "a b"}}, "/podLabels/team"),
    ({"commonLabels": {"app.kubernetes.io/name": "shop"}}, "invalid propertyName 'app.kubernetes.io/name'"),
    ({"imagePullSecrets": ["a", "a"]}, "/imagePullSecrets"),
    ({"topologyKeys": ["zone", "zone"]}, "/topologyKeys"),
    ({"tolerations": [{"efect": "NoSchedule"}]}, "additional properties 'efect' not allowed"),
]


@pytest.mark.parametrize(("given", "message"), WRONG, ids=str)
def test_a_wrong_value_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as caught:
        render(MINIMAL, **given)
    assert message in str(caught.value)


@pytest.mark.parametrize("release", ["a" * 36, "1st", "my.shop"])
def test_a_name_that_makes_no_service_is_refused(release: str) -> None:
    with pytest.raises(Refused, match="set fullnameOverride"):
        render(MINIMAL, release=release)
    assert render(MINIMAL, release=release, fullnameOverride="shop")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"watchNamespaces": ["Shop"]}, "/watchNamespaces/0"),
        ({"image__repository": ""}, "/image/repository"),
        ({"logLevel": "loud"}, "/logLevel"),
        ({"replicas": 2}, "additional properties 'replicas' not allowed"),
    ],
    ids=str,
)
def test_a_wrong_value_of_the_registrar_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as caught:
        render(cases("tandem-registrar")[0], **given)
    assert message in str(caught.value)


def _nothing(found: Object) -> Object:
    """The same values, none of them there; pools and services, and a part's requests and limits, may be taken away."""
    left = {name: value for name, value in found.items() if name not in {"workers", "services"}}
    groups = {name for name, value in left.items() if isinstance(value, dict) and value and name != "resources"}
    return {name: _nothing(value) if name in groups else None for name, value in left.items()}


@pytest.mark.parametrize("whole", [True, False], ids=["values", "groups"])
def test_a_release_that_never_heard_of_a_value_has_the_default(whole: bool) -> None:  # noqa: FBT001  # a parameter of pytest's
    known = values("tandem")
    missing = _nothing(known) if whole else dict.fromkeys(_nothing(known))
    given = {**missing, **MINIMAL.values}
    again = render(MINIMAL, **given)
    for objects in (again, first := list(rendered(MINIMAL))):
        objects[:] = [one for one in objects if one["kind"] != "Secret"]
    assert again == first


def test_every_container_has_what_a_quota_wants() -> None:
    wanted = {"requests": {"ephemeral-storage": "64Mi"}, "limits": {"cpu": "1", "ephemeral-storage": "2Gi"}}
    objects = render(case("tandem", "all"), resources=wanted)
    for pod in pods(objects):
        for one in containers(pod):
            found = one["resources"]
            assert {"cpu", "memory", "ephemeral-storage"} == set(found["requests"]) == set(found["limits"]), str(pod)


def _paths(found: Any, path: str = "") -> Iterator[str]:
    """The paths of all values that have no parts."""
    if isinstance(found, dict) and found:
        for name, value in found.items():
            yield from _paths(value, f"{path}.{name}".lstrip("."))
    else:
        yield path


def _known(part: Object, root: Object, path: str) -> Iterator[str]:
    while "$ref" in part:
        found: Any = root
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    yield path
    for name, value in part.get("properties", {}).items():
        yield from _known(value, root, f"{path}.{name}".lstrip("."))
    if isinstance(others := part.get("additionalProperties"), dict) and "default" not in part.get("properties", {}):
        yield from _known(others, root, f"{path}.default")


def _open(part: Any, path: str) -> Iterator[str]:
    """The paths of objects in a schema that take any key."""
    if isinstance(part, list):
        for one in part:
            yield from _open(one, path)
    elif isinstance(part, dict):
        kind = part.get("type")
        if (kind == "object" or (isinstance(kind, list) and "object" in kind)) and "additionalProperties" not in part:
            yield path
        for name, value in part.items():
            yield from _open(value, f"{path}.{name}")


def test_the_examples_of_values_are_the_whole_matrix() -> None:
    assert {file.parent.parent.name for file in Path(CHARTS).glob("*/ci/*-values.yaml")} == set(NAMES)


def test_the_pages_first_values_are_ten_lines_and_all_that_a_project_needs(tmp_path: Path) -> None:
    page = (CHARTS.parent / "docs" / "kubernetes.md").read_text()
    (text,) = re.findall(r"^```yaml\nimage:(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(text.splitlines()) <= 10
    file = tmp_path / "values.yaml"
    file.write_text(f"image:{text}")
    images = {
        one["image"].rpartition("/")[0]
        for pod in pods(render(Case(chart="tandem", file=file)))
        for one in containers(pod)
    }
    assert images == {"registry.example.com", "registry.example.com/tandem"}
