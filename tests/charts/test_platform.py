"""What the parts of a release are told: environment, Restate's nodes, migrations, budgets, words at the end."""

import base64
import re
from typing import Any

import pytest

from tandem.engines.restate.identity import read_identity_keys
from tests.charts.objects import container, environment, named, of_kind, pods
from tests.charts.rendering import (
    CHARTS,
    MATRIX,
    MINIMAL,
    NAMESPACE,
    RELEASE,
    Case,
    Object,
    case,
    helm,
    load,
    render,
    rendered,
)
from tests.identity import public_half, raw


def web(**values: Any) -> dict[str, Any]:
    return environment(container(render(MINIMAL, **values), "Deployment", "trial-web"))


@pytest.mark.parametrize(
    ("routes", "text"),
    [
        (None, ""),
        ("default=celery; a.*=restate:25", "default=celery; a.*=restate:25"),
        ({"default": "celery", "a.*": "restate:25"}, "a.*=restate:25; default=celery"),
    ],
)
def test_routes_are_a_text_or_a_map(routes: Any, text: str) -> None:
    assert web(routes=routes)["TANDEM_ROUTES"] == text


def test_the_site_answers_to_its_own_names() -> None:
    hosts = web(django__allowedHosts=["shop.example.com"])["ALLOWED_HOSTS"].split(",")
    assert {"shop.example.com", "trial-web", "trial-web.demo", "trial-web.demo.svc"} <= set(hosts)


def test_an_ingress_tells_the_site_its_names_and_origins() -> None:
    ingress = {"enabled": True, "hosts": ["a.example.com", "b.example.com"], "tlsSecret": "certificate"}
    found = web(web__ingress=ingress)
    assert {"a.example.com", "b.example.com"} <= set(found["ALLOWED_HOSTS"].split(","))
    assert found["CSRF_TRUSTED_ORIGINS"] == "https://a.example.com,https://b.example.com"
    assert found["TANDEM_SITE_URL"] == "https://a.example.com/"


def test_a_wildcard_of_an_ingress_is_written_as_django_reads_it() -> None:
    ingress = {"enabled": True, "hosts": ["example.com", "*.example.com"], "tlsSecret": "certificate"}
    found = web(web__ingress=ingress)
    assert found["ALLOWED_HOSTS"].split(",")[:2] == ["example.com", ".example.com"]
    assert found["CSRF_TRUSTED_ORIGINS"] == "https://example.com,https://*.example.com"
    assert found["TANDEM_SITE_URL"] == "https://example.com/"


@pytest.mark.parametrize("name", ["minimal", "external"])
def test_only_relay_and_exporter_know_the_admin_address(name: str) -> None:
    every = list(pods(rendered(case("tandem", name))))
    knowing = {pod.component for pod in every if "TANDEM_RESTATE_ADMIN_URL" in environment(pod.spec["containers"][0])}
    assert knowing == {"relay", "exporter"}


def test_files_are_shared_by_all_that_read_or_write_them() -> None:
    for pod in pods(render(MINIMAL, media__enabled=True, media__mountPath="/files")):
        if pod.component in {"web", "worker", "service"}:
            (one,) = pod.spec["containers"]
            assert environment(one)["MEDIA_ROOT"] == "/files"
            assert {"name": "media", "mountPath": "/files"} in one["volumeMounts"]


def test_what_people_have_outlives_an_uninstall() -> None:
    objects = render(MINIMAL, media__enabled=True)
    kept = {
        (one["kind"], one["metadata"]["name"])
        for one in objects
        if one["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert kept == {("Secret", "trial-postgres"), ("Secret", "trial-django"), ("PersistentVolumeClaim", "trial-media")}


def test_a_given_password_is_the_one_in_the_secret_and_in_the_url() -> None:
    secret = named(render(MINIMAL, postgres__password="given"), "Secret", "trial-postgres")["stringData"]
    assert secret == {"password": "given", "DATABASE_URL": "postgresql://tandem:given@trial-postgres:5432/tandem"}


def test_a_random_password_is_long_and_another_each_time() -> None:
    one, other = (named(render(MINIMAL), "Secret", "trial-redis")["stringData"]["password"] for _ in range(2))
    assert len(one) == len(other) == 50
    assert one != other


def test_one_node_may_always_found_a_cluster() -> None:
    configuration = named(rendered(MINIMAL), "ConfigMap", "trial-restate")
    assert configuration["data"] == {"trial-restate-0.toml": "auto-provision = true\n"}


@pytest.mark.parametrize(("when", "first"), [("auto", "true"), ("always", "true"), ("never", "false")])
def test_only_the_first_of_three_nodes_may_found_a_cluster(when: str, first: str) -> None:
    objects = render(MINIMAL, restate__nodes=3, restate__autoProvision=when)
    assert named(objects, "ConfigMap", "trial-restate")["data"] == {
        "trial-restate-0.toml": f"auto-provision = {first}\n",
        "trial-restate-1.toml": "auto-provision = false\n",
        "trial-restate-2.toml": "auto-provision = false\n",
    }


def test_what_a_node_may_do_is_no_part_of_its_pod() -> None:
    one, other = (
        named(render(MINIMAL, restate__nodes=3, restate__autoProvision=when), "StatefulSet", "trial-restate")
        for when in ("always", "never")
    )
    assert one == other


def test_three_nodes_replicate_and_know_each_other() -> None:
    objects = rendered(case("tandem", "three-nodes"))
    found = environment(container(objects, "StatefulSet", "trial-restate"))
    assert found["RESTATE_DEFAULT_REPLICATION"] == "2"
    assert load(found["RESTATE_METADATA_CLIENT__ADDRESSES"]) == [
        f"http://trial-restate-{node}.trial-restate-nodes.demo.svc:5122" for node in range(3)
    ]
    assert found["RESTATE_ADVERTISED_ADDRESS"] == "http://$(POD_NAME).trial-restate-nodes.demo.svc:5122"
    assert named(objects, "Service", "trial-restate-nodes")["spec"]["publishNotReadyAddresses"] is True
    assert named(objects, "PodDisruptionBudget", "trial-restate")["spec"]["maxUnavailable"] == 1


def test_a_deleted_pods_address_is_given_up_soon() -> None:
    found = environment(container(rendered(MINIMAL), "StatefulSet", "trial-restate"))
    assert found["RESTATE_WORKER__INVOKER__CONNECT_TIMEOUT"] == "1s"


def test_the_admin_api_is_not_behind_the_ingress_service() -> None:
    ports = {one["metadata"]["name"]: [port["port"] for port in one["spec"]["ports"]] for one in _services()}
    assert ports["trial-restate"] == [8080]
    assert ports["trial-restate-admin"] == [9070]


@pytest.mark.parametrize(
    ("values", "secret"), [("three-nodes", "restate-identity"), ("minimal", "trial-restate-identity")]
)
def test_signed_requests_need_both_halves_of_the_key(values: str, secret: str) -> None:
    objects = rendered(case("tandem", values))
    (pod,) = pods([named(objects, "StatefulSet", "trial-restate")])
    path = environment(pod.spec["containers"][0])["RESTATE_WORKER__INVOKER__REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE"]
    mounts = {mount["mountPath"]: mount["name"] for mount in pod.spec["containers"][0]["volumeMounts"]}
    folder, _, file = path.rpartition("/")
    (volume,) = (volume for volume in pod.spec["volumes"] if volume["name"] == mounts[folder])
    assert volume["secret"] == {"secretName": secret, "items": [{"key": "private.pem", "path": file}]}
    public = environment(container(objects, "Deployment", "trial-web"))["TANDEM_RESTATE_IDENTITY_KEYS"]
    assert public["secretKeyRef"]["name"] == secret
    assert public["secretKeyRef"]["key"] == "public"


def test_a_key_that_is_made_is_one_that_services_read() -> None:
    made = named(rendered(MINIMAL), "Secret", "trial-restate-identity")["stringData"]
    (private,) = re.findall(r"\A-----BEGIN PRIVATE KEY-----\n(.+)\n-----END PRIVATE KEY-----\n\Z", made["private.pem"])
    (public,) = read_identity_keys([made["public"]])
    assert raw(public) == public_half(base64.b64decode(private)[-32:])


def test_no_key_is_made_where_none_is_wanted() -> None:
    for objects in (render(MINIMAL, restate__identity__generate=False), rendered(case("tandem", "external"))):
        assert "trial-restate-identity" not in {one["metadata"]["name"] for one in of_kind(objects, "Secret")}


def job(**values: Any) -> Object:
    (found,) = of_kind(render(MINIMAL, **values), "Job")
    return found


def test_migrations_are_a_job_of_this_revision_and_no_hook() -> None:
    found = job()
    assert found["metadata"]["name"].startswith("trial-migrate-1-")
    assert not any(name.startswith("helm.sh/hook") for name in found["metadata"].get("annotations", {}))
    assert found["spec"]["ttlSecondsAfterFinished"] > 0


def test_another_image_is_another_job() -> None:
    names = [job(image__tag=tag)["metadata"]["name"] for tag in ("1", "2", "1")]
    assert names[0] == names[2] != names[1]


def test_a_check_that_fails_is_no_failed_migration() -> None:
    found = job()["spec"]
    disrupted, *rules = found["podFailurePolicy"]["rules"]
    (pod,) = pods([job()])
    # Nothing but another release mends what this one says; one that was killed says nothing.
    said = {"containerName": "check-required", "operator": "In", "values": [1]}
    assert [rule for rule in rules if rule["action"] == "FailJob"] == [{"action": "FailJob", "onExitCodes": said}]
    assert [rule for rule in rules if rule["action"] == "Ignore"] == [
        {"action": "Ignore", "onExitCodes": {"containerName": one["name"], "operator": "NotIn", "values": [0]}}
        for one in pod.spec["initContainers"]
    ]
    assert disrupted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert found["template"]["spec"]["restartPolicy"] == "Never"


def test_flower_looks_into_the_broker_and_asks_for_a_password() -> None:
    found = environment(container(rendered(case("tandem", "all")), "Deployment", "shop-flower"))
    assert {name: found[name]["secretKeyRef"]["name"] for name in ("CELERY_BROKER_URL", "FLOWER_BASIC_AUTH")} == {
        "CELERY_BROKER_URL": "shop-redis",
        "FLOWER_BASIC_AUTH": "flower",
    }


def test_budgets_let_go_of_pods_that_are_not_ready() -> None:
    budgets = of_kind(rendered(MINIMAL), "PodDisruptionBudget")
    assert {one["metadata"]["name"] for one in budgets} == {"trial-web", "trial-relay"}
    assert all(one["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" for one in budgets)


def test_options_of_all_pods_and_of_one_component_come_together() -> None:
    objects = rendered(case("tandem", "all"))
    (site,) = pods([named(objects, "Deployment", "shop-web")])
    (relay,) = pods([named(objects, "Deployment", "shop-relay")])
    assert {"example.com/team", "example.com/stage", "example.com/edge"} <= site.labels.keys()
    assert (site.spec["nodeSelector"], relay.spec["nodeSelector"]) == (
        {"example.com/edge": "true"},
        {"kubernetes.io/arch": "amd64"},
    )
    assert environment(site.spec["containers"][0])["WEB_ONLY"] == "1"
    assert {"EMAIL_HOST"} <= environment(relay.spec["containers"][0]).keys()
    assert relay.spec["securityContext"]["runAsUser"] == 1001


def test_extra_objects_are_rendered() -> None:
    objects = rendered(case("tandem", "all"))
    assert named(objects, "ConfigMap", "shop-extra")["data"] == {"namespace": NAMESPACE}
    assert named(objects, "ConfigMap", f"{RELEASE}-text")


@pytest.mark.parametrize("each", MATRIX, ids=str)
def test_the_notes_are_whole(each: Case) -> None:
    text = helm(
        "install", RELEASE, CHARTS / each.chart, "--namespace", NAMESPACE, "--values", each.file, "--dry-run=client"
    )
    _, _, notes = text.partition("\nNOTES:\n")
    assert f"kubectl --namespace {NAMESPACE}" in notes
    assert "<no value>" not in text
    assert "\n\n\n" not in notes


def test_the_test_asks_for_all_pools() -> None:
    pod = named(rendered(case("tandem", "all")), "Pod", "shop-test")
    answers = next(one for one in pod["spec"]["initContainers"] if one["name"] == "answers")
    asked = [address.partition("queues=")[2] for address in answers["args"][1:] if "queues=" in address]
    assert asked == ["default", "files%2Clarge-files", "nightly"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("all", ["--engines=celery,restate", "--queues=default,files,nightly"]),
        ("celery", ["--engines=celery", "--queues=default"]),
    ],
)
def test_the_test_runs_a_task_on_each_engine_and_pool(name: str, words: list[str]) -> None:
    (pod,) = [
        one for one in of_kind(rendered(case("tandem", name)), "Pod") if one["metadata"]["name"].endswith("-test")
    ]
    (one,) = pod["spec"]["containers"]
    assert one["args"] == ["tandem", "smoke", *words, "--within=120"]


def _services() -> list[Object]:
    return of_kind(rendered(MINIMAL), "Service")
