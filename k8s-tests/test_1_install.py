"""A platform from nothing, and all of its work."""

import json
import re
import tomllib
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from conftest import Figures
from installation import ROOT, CommandError, Installation, until

OWNED = "tandem.dev/restate-service"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:DEBUG|INFO|WARNING|ERROR|CRITICAL) [\w.]+: ")


def test_the_pods_are_ready_and_helm_test_agrees(platform: Installation, figures: Figures) -> None:
    with figures.timed("helm test: a task on each engine, pools from zero"):
        said = platform.kubernetes.helm(
            *("test", platform.release, f"--namespace={platform.namespace}", "--timeout=180s", "--logs")
        )
    for place in ("celery, queue 'default'", "celery, queue 'files'", "restate"):
        assert f"{place}: it ran on " in said, said
    assert platform.sql("SELECT count(*) FROM tandem_execution WHERE task = 'tandem.management.smoke_task.answer'") == [
        ["0"]
    ]
    for component in ("web", "relay", "exporter", "service", "restate", "postgres", "redis"):
        pods = platform.pods(component)
        assert pods, component
        for pod in pods:
            (ready,) = [each for each in pod["status"]["conditions"] if each["type"] == "Ready"]
            assert ready["status"] == "True", (component, ready)
    assert platform.failed_probes() == set()


def test_each_pod_logs_in_one_format_in_utc(platform: Installation) -> None:
    # A pool that has nothing to do has no pods, and logs nothing.
    work = platform.enqueue("slow", 15.0, engine="celery")
    until(lambda: platform.phase(work) == "running", "no worker comes")
    # The project says nothing of TIME_ZONE: Django's own is not UTC.
    for component in ("web", "relay", "exporter", "worker", "service"):
        pods = platform.pods(component)
        assert pods, component
        for pod in pods:
            lines = platform.kubectl("logs", pod["metadata"]["name"]).splitlines()
            assert lines, component
            assert LINE.match(lines[0]), (component, lines[0])
            now = datetime.now(UTC)
            for line in filter(LINE.match, lines):
                assert now - timedelta(hours=3) < datetime.fromisoformat(line.split()[0]) <= now + timedelta(minutes=1)
            assert "\x1b[" not in "".join(lines), component


def test_every_command_of_the_platforms_image_starts(platform: Installation) -> None:
    platform.kubectl(
        *("exec", f"statefulset/{platform.release}-postgres", "--"),
        # On a cluster that stays there is one of before.
        *("sh", "-c", 'dropdb --if-exists --force --username "$POSTGRES_USER" images'),
    )
    platform.kubectl(
        *("exec", f"statefulset/{platform.release}-postgres", "--"),
        *("sh", "-c", 'createdb --username "$POSTGRES_USER" images'),
    )
    program = (ROOT / "k8s-tests" / "commands.py").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    platform.start_pod(
        "commands",
        ["python", "-c", program],
        {"DJANGO_SETTINGS_MODULE": "platform_settings", "PYTHONPATH": "/tmp"},
        image=f"localhost/tandem/platform:{version}",
    )
    text = platform.output("commands")
    started = set(re.findall(r"^started (\S+)$", text, re.MULTILINE))
    # `up` is for one machine, and its servers are of another extra.
    (commands,) = re.findall(r"^commands (.*)$", text, re.MULTILINE)
    assert started == set(commands.split()) - {"up"}


def test_the_site_answers_through_its_service(platform: Installation) -> None:
    with platform.forwarded(f"{platform.release}-web", 80) as site:
        request = urllib.request.Request(site, headers={"Host": f"{platform.release}-web"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert "Tandem" in answer.read().decode()


def test_services_refuse_what_restate_did_not_sign(platform: Installation) -> None:
    services = platform.get("services", "--selector=" + OWNED)["items"]
    assert {each["metadata"]["labels"][OWNED] for each in services} == {"tandem", "tandem-flows"}
    for service in services:
        name = service["metadata"]["name"]
        with platform.forwarded(name, 9080) as address, pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}/discover", timeout=30)
        with refused.value:
            assert refused.value.code == 401


def test_all_workloads_on_both_engines(platform: Installation, figures: Figures) -> None:
    parts = ["emails", "files", "analysis"]
    platform.start_pod(
        "demo",
        ["python", "-m", "showcase.demo", *parts],
        {"TANDEM_DEMO_SITE_URL": f"http://{platform.release}-web/"},
    )
    text = platform.output("demo")
    assert "Not as expected" not in text, text
    lines = [line for line in text.splitlines() if re.search(r"\b(celery|restate)\b", line)]
    assert len(lines) >= 15, text
    figures.add("lines of the demonstration, all right", str(len(lines)))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("web.replicas=two", "/web/replicas"),
        ("web.replica=2", "replica"),
        ("image.tag=", "image.tag"),
        ("django.settingsModule=", "settingsModule"),
        ("workers.default.queues=null", "queues"),
        ("workers.default.pool=gevent", "pool"),
        ("restate.nodes=2", "nodes"),
        ("services.second.protocol=http2", "services.default and services.second have no take"),
    ],
)
def test_one_wrong_value_fails_by_name_before_anything_is_made(
    platform: Installation, setting: str, words: str
) -> None:
    other = Installation(kubernetes=platform.kubernetes, release="wrong")
    with pytest.raises(CommandError) as refused:
        other.install(f"--set-string={setting}", wait=False)
    assert words in str(refused.value)
    made = platform.get("all,secrets,restateservices", "--selector=app.kubernetes.io/instance=wrong")["items"]
    assert not [item["metadata"]["name"] for item in made]


SPEC = {
    "restate": {"url": "http://tandem-restate-admin:9070"},
    "template": {"spec": {"containers": [{"name": "service", "image": "localhost/tandem/project:1"}]}},
    "scaling": {"replicas": 1},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"restate": {}}, "exactly one of"),
        ({"restate": {"url": "x", "service": {"name": "y"}}}, "exactly one of"),
        ({"scaling": {}}, "scaling"),
        ({"scaling": {"replicas": 1, "minReplicas": 1}}, "scaling"),
        ({"template": {"spec": {}}}, "containers"),
        ({"endpoint": {"port": 99999999}}, "endpoint.port"),
        ({"endpoint": {"protocol": "http3"}}, "endpoint.protocol"),
    ],
)
def test_the_api_server_refuses_a_bad_spec_with_a_clear_message(
    platform: Installation, change: dict[str, object], words: str
) -> None:
    bad = {
        "apiVersion": "tandem.dev/v1alpha1",
        "kind": "RestateService",
        "metadata": {"name": "bad"},
        "spec": {**SPEC, **change},
    }
    with pytest.raises(CommandError) as refused:
        platform.kubectl("create", "--filename=-", content=json.dumps(bad))
    assert words in str(refused.value)


def test_a_service_without_a_status_is_not_ready(platform: Installation) -> None:
    platform.kubernetes.kubectl(
        f"--namespace={platform.registrar_namespace}", "scale", "deployment/tandem-registrar", "--replicas=0"
    )
    try:
        until(
            lambda: not platform.kubernetes.get("pods", namespace=platform.registrar_namespace)["items"],
            "the registrar is still there",
        )
        new = {
            "apiVersion": "tandem.dev/v1alpha1",
            "kind": "RestateService",
            "metadata": {"name": "new"},
            "spec": SPEC,
        }
        made = json.loads(platform.kubectl("create", "--filename=-", "--output=json", content=json.dumps(new)))
        found = platform.get("restateservice", "new")
        for read in (made, found):
            (ready,) = [each for each in read["status"]["conditions"] if each["type"] == "Ready"]
            assert ready["status"] != "True"
            assert ready["message"]
        platform.kubectl("delete", "restateservice", "new", "--wait=false")
    finally:
        platform.kubernetes.kubectl(
            f"--namespace={platform.registrar_namespace}", "scale", "deployment/tandem-registrar", "--replicas=1"
        )
    until(
        lambda: "new" not in {each["metadata"]["name"] for each in platform.get("restateservice")["items"]},
        "the object that was deleted while the registrar was away is still there",
    )
