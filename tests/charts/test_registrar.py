import importlib.util
import os
import subprocess
import sys
import urllib.error
from email.message import Message
from types import ModuleType
from typing import Any

import pytest

from registrar.cluster import FINALIZER
from registrar.consent import ALLOWED, Consent
from registrar.options import Options
from registrar.specification import parse
from tandem.probes.health import Answer, listen
from tests.charts.objects import container, environment, named, of_kind, pods
from tests.charts.rendering import CHARTS, NAMESPACE, Object, case, load, rendered

EVERYWHERE = rendered(case("tandem-registrar", "default"))
SOME = rendered(case("tandem-registrar", "namespaces"))
FILES = CHARTS / "tandem-registrar" / "files"


def rights(objects: tuple[Object, ...], account: str) -> set[tuple[str, str, str, str]]:
    """Namespace, group, resource and verb of all that an account may do."""
    found = set()
    for binding in of_kind(objects, "ClusterRoleBinding", "RoleBinding"):
        if account not in {subject["name"] for subject in binding["subjects"]}:
            continue
        where = binding["metadata"].get("namespace", "*")
        kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
        (role,) = (
            one
            for one in of_kind(objects, kind)
            if (one["metadata"]["name"], one["metadata"].get("namespace", "*")) == (name, where)
        )
        found |= {
            (where, group, resource, verb)
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
    return found


def test_the_kind_stays_when_the_chart_goes() -> None:
    (definition,) = of_kind(EVERYWHERE, "CustomResourceDefinition")
    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert definition["spec"] == load((FILES / "crd.yaml").read_text())["spec"]
    assert of_kind(SOME, "CustomResourceDefinition") == []


def test_it_has_the_rights_that_it_names_and_no_others() -> None:
    rules = load((FILES / "rules.yaml").read_text())
    wanted = {
        (group, resource, verb)
        for rule in [*rules["cluster"], *rules["namespaced"]]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert rights(EVERYWHERE, "trial") == {("*", *right) for right in wanted}


def test_it_has_no_rights_in_other_namespaces() -> None:
    found = rights(SOME, "shop-registrar")
    assert {where for where, *_ in found} == {"*", "shop", "reports"}
    assert {resource for where, _, resource, _ in found if where == "*"} == {"customresourcedefinitions", "namespaces"}


def test_it_is_told_what_to_watch() -> None:
    for objects, name, namespaces in ((EVERYWHERE, "trial", ""), (SOME, "shop-registrar", "shop,reports")):
        assert environment(container(objects, "Deployment", name))["REGISTRAR_NAMESPACES"] == namespaces


def test_it_is_told_where_objects_may_point_outside_of_their_namespace() -> None:
    for objects, name, wanted in (
        (EVERYWHERE, "trial", ()),
        (SOME, "shop-registrar", (Consent(namespaces=("shop",), url="https://restate.example.com:9070"),)),
    ):
        assert Options.read(environment(container(objects, "Deployment", name))).consents == wanted


def test_a_release_says_who_else_may_register_in_its_restate() -> None:
    for name, wanted in (("all", "billing,reports"), ("minimal", None)):
        objects = rendered(case("tandem", name))
        (service,) = (one for one in of_kind(objects, "Service") if one["metadata"]["name"].endswith("-restate-admin"))
        assert (service["metadata"].get("annotations") or {}).get(ALLOWED) == wanted


def test_services_of_a_release_may_take_from_each_other_and_from_nobody_else() -> None:
    found = {one["metadata"]["name"]: one["spec"] for one in of_kind(rendered(case("tandem", "all")), "RestateService")}
    for name, taken, policy in (("shop", [], "Wait"), ("shop-reports", ["Reports"], "Cancel")):
        specification = parse(found[name], namespace=NAMESPACE)
        assert set(found) <= set(specification.siblings)
        assert (list(specification.take_over), specification.deletion_policy) == (taken, policy)
    (alone,) = of_kind(rendered(case("tandem", "minimal")), "RestateService")
    assert "siblings" not in alone["spec"]


def test_there_is_never_a_second_one() -> None:
    spec = named(EVERYWHERE, "Deployment", "trial")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_its_startup_probe_asks_the_pod_and_no_proxy() -> None:
    """The variables of extraEnv, a proxy's among them, are the probe's too."""
    with listen("127.0.0.1:0", {"/healthz": lambda _: Answer(body="ok")}, option="--bind") as server:
        program = (FILES / "started.py").read_text().replace(":8080", f":{server.server_address[1]}")
        environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
        subprocess.run([sys.executable, "-IS", "-c", program], env=environment, check=True, timeout=10)


class Kubernetes:
    """What the last act of an uninstall sees of a cluster."""

    def __init__(self, *services: tuple[str, list[str]], running: int = 0) -> None:
        self.services = {
            name: {"name": name, "namespace": "shop", "resourceVersion": "1", "finalizers": finalizers}
            for name, finalizers in services
        }
        self.running = running
        self.conflicts = 0
        self.asked: list[tuple[str, str]] = []
        self.known = True

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        self.asked.append((method, path))
        if path.startswith("/api/v1/"):
            return {"items": [{"metadata": {"name": f"registrar-{number}"}} for number in range(self.running)]}
        if not self.known:
            raise failure(404)
        if method == "GET":
            return {"items": [{"metadata": metadata} for metadata in self.services.values()]}
        if self.conflicts:
            self.conflicts -= 1
            raise failure(409)
        self.services[path.rpartition("/")[2]] |= body["metadata"]
        return {}

    def pause(self) -> None:
        """Time goes by, and a pod with it."""
        assert len(self.asked) < 100
        self.running = max(0, self.running - 1)


def failure(code: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("", code, "", Message(), None)


@pytest.fixture
def program() -> ModuleType:
    specification = importlib.util.spec_from_file_location("release", FILES / "release.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def run(program: ModuleType, cluster: Kubernetes, namespaces: list[str] | None = None) -> Any:
    return program.main(cluster.ask, "operators", "app=registrar", namespaces or [], cluster.pause)


def test_an_uninstall_lets_go_of_every_object(program: ModuleType) -> None:
    cluster = Kubernetes(("one", [FINALIZER]), ("two", ["other", FINALIZER]), ("three", []))
    assert run(program, cluster) is None
    assert [one["finalizers"] for one in cluster.services.values()] == [[], ["other"], []]


def test_it_waits_until_no_registrar_can_hold_them_again(program: ModuleType) -> None:
    cluster = Kubernetes(("one", [FINALIZER]), running=2)
    assert run(program, cluster) is None
    assert [method for method, _ in cluster.asked] == ["GET", "GET", "GET", "GET", "PATCH", "GET", "GET"]


def test_an_object_that_changed_meanwhile_is_looked_at_again(program: ModuleType) -> None:
    cluster = Kubernetes(("one", [FINALIZER]))
    cluster.conflicts = 2
    assert run(program, cluster) is None
    assert cluster.services["one"]["finalizers"] == []


def test_a_kind_that_is_gone_needs_nothing(program: ModuleType) -> None:
    cluster = Kubernetes()
    cluster.known = False
    assert run(program, cluster) is None


def test_a_registrar_that_stays_is_named(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "PATIENCE", -1.0)
    assert "['registrar-0']" in run(program, Kubernetes(running=1))


@pytest.mark.parametrize(
    ("objects", "namespaces"), [(EVERYWHERE, []), (SOME, ["shop", "reports"])], ids=["all", "some"]
)
def test_it_may_do_what_it_does(program: ModuleType, objects: tuple[Object, ...], namespaces: list[str]) -> None:
    job = next(one for one in of_kind(objects, "Job"))
    (pod,) = pods([job])
    told = environment(pod.spec["containers"][0])
    assert told["NAMESPACES"] == ",".join(namespaces)
    cluster = Kubernetes(("one", [FINALIZER]))
    assert run(program, cluster, namespaces) is None
    found = rights(objects, pod.spec["serviceAccountName"])
    assert (told["NAMESPACE"], "", "pods", "list") in found
    for method, path in cluster.asked:
        if path.startswith("/apis/"):
            where = "*" if not namespaces else path.split("/")[5]
            assert (where, "tandem.dev", "restateservices", {"GET": "list", "PATCH": "patch"}[method]) in found
    selector = dict(pair.split("=") for pair in told["SELECTOR"].split(","))
    registrar = next(pod for pod in pods(of_kind(objects, "Deployment")))
    assert selector.items() <= registrar.labels.items()
    assert not selector.items() <= pod.labels.items()
