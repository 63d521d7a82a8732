"""What goes away in the middle of the work, and what is wrong from the start."""

import json
import shlex
from functools import partial
from typing import Any

import pytest

from conftest import Figures
from installation import CommandError, Installation, until
from test_3_upgrade import latest

WORKFLOW_SECONDS = 12


def in_phase(platform: Installation, execution: str, phase: str) -> None:
    until(lambda: platform.phase(execution) == phase, f"{execution} is not {phase}")


def steps(platform: Installation, execution: str) -> int:
    ((number,),) = platform.sql(f"SELECT count(*) FROM tandem_step WHERE execution_id = '{execution}'")
    return int(number)


@pytest.mark.parametrize("engine", ["celery", "restate"])
def test_a_pod_killed_in_the_middle_of_a_body_costs_a_try_and_nothing_else(platform: Installation, engine: str) -> None:
    execution = platform.enqueue("slow", WORKFLOW_SECONDS, engine=engine)
    in_phase(platform, execution, "running")
    ((worker,),) = platform.sql(f"SELECT worker FROM tandem_execution WHERE id = '{execution}'")
    # A second, and SIGKILL. A forced deletion may leave the process its whole grace time, in which the body ends.
    platform.kubectl("delete", "pod", worker.partition(":")[0], "--grace-period=1", "--wait=false")
    assert platform.finished(execution) == "succeeded"
    ((result,),) = platform.sql(f"SELECT result ->> 'pod' FROM tandem_execution WHERE id = '{execution}'")
    assert result != worker.partition(":")[0]


@pytest.mark.parametrize("engine", ["celery", "restate"])
def test_a_workflow_that_sleeps_outlives_its_pods(platform: Installation, engine: str) -> None:
    execution = platform.enqueue("stepped", 1, WORKFLOW_SECONDS, engine=engine)
    in_phase(platform, execution, "sleeping")
    component = "worker" if engine == "celery" else "service"
    platform.kubectl(
        "delete", "pod", f"--selector=app.kubernetes.io/component={component}", "--grace-period=0", "--force"
    )
    assert platform.finished(execution) == "succeeded"
    assert steps(platform, execution) == 3


@pytest.mark.long
def test_restate_with_an_empty_volume_is_told_of_everything_again(platform: Installation, figures: Figures) -> None:
    asleep = platform.enqueue("stepped", 1, WORKFLOW_SECONDS, engine="restate")
    in_phase(platform, asleep, "sleeping")
    name = f"{platform.release}-restate"
    platform.kubectl("scale", f"statefulset/{name}", "--replicas=0")
    until(lambda: not platform.pods("restate"), "Restate's pod does not go")
    platform.kubectl("delete", "pvc", "--selector=app.kubernetes.io/component=restate", "--wait")
    platform.kubectl("scale", f"statefulset/{name}", "--replicas=1")
    with figures.timed("a task on Restate done after its volume was lost, from the new pod's start"):
        platform.kubectl("rollout", "status", f"statefulset/{name}", "--timeout=180s")
        assert platform.finished(platform.enqueue("plain", 1, engine="restate"), patience=300) == "succeeded"
    assert platform.finished(asleep, patience=300) == "succeeded"


@pytest.mark.long
def test_the_registrar_killed_in_the_middle_of_a_rollout_goes_on(platform: Installation) -> None:
    before = latest(platform)
    tag = "2" if platform.tag == "1" else "1"
    platform.install(tag=tag, wait=False)
    until(lambda: platform.get("restateservice", platform.release)["metadata"]["generation"] > 1, "nothing changed")
    platform.kubernetes.kubectl(
        *(f"--namespace={platform.registrar_namespace}", "delete", "pod", "--all"),
        *("--grace-period=0", "--force", "--wait=false"),
    )
    platform.install(tag=tag)
    assert latest(platform) != before
    assert platform.finished(platform.enqueue("plain", 1, engine="restate")) == "succeeded"


def waiting(platform: Installation, component: str, container: str) -> str:
    """What an init container of the newest pods said when it last ended."""
    for pod in platform.pods(component):
        for status in pod["status"].get("initContainerStatuses", []):
            for state in (status.get("lastState", {}), status.get("state", {})):
                message: str = state.get("terminated", {}).get("message", "")
                if status["name"] == container and message and state["terminated"]["exitCode"] != 0:
                    return message
    return ""


def has_failed(job: Any) -> bool:
    return any(each["type"] == "Failed" and each["status"] == "True" for each in job["status"].get("conditions", []))


def migrations(platform: Installation) -> set[str]:
    """The names of the release's migrations' Jobs that are there."""
    selector = f"app.kubernetes.io/instance={platform.release},app.kubernetes.io/component=migrate"
    return {job["metadata"]["name"] for job in platform.get("jobs", f"--selector={selector}")["items"]}


def test_a_missing_secret_and_a_wrong_route_are_named_and_the_old_pods_serve(platform: Installation) -> None:
    # Waited for in vain, or Helm would count it as deployed, and take its Job away by itself.
    with pytest.raises(CommandError):
        platform.install(
            "--set=django.secretKey.existingSecret=shop-key", "--set=routes.default=celary", "--timeout=20s"
        )
    message = until(lambda: waiting(platform, "web", "check-secrets"), "no check says what is missing")
    assert "shop-key" in message
    assert "SECRET_KEY" in message
    platform.kubectl("create", "secret", "generic", "shop-key", "--from-literal=SECRET_KEY=" + "k" * 50)
    # The Secret is there, so the pods come to what is wrong next.
    for component in ("web", "relay"):
        message = until(partial(waiting, platform, component, "check-required"), "no check says what is wrong")
        assert "engine 'celary' is not configured; did you mean 'celery'?" in message
        deployment = platform.get("deployment", f"{platform.release}-{component}")
        assert deployment["status"]["availableReplicas"] == 2, "the old pods no longer serve"
    failed = migrations(platform)
    assert failed
    platform.install()
    platform.kubectl("delete", "secret", "shop-key")
    assert not migrations(platform) & failed, "a failed upgrade left its Job"


@pytest.mark.long
def test_a_database_that_cannot_be_reached_is_named_and_the_old_pods_serve(platform: Installation) -> None:
    secret = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "nowhere"},
            "stringData": {"DATABASE_URL": "postgresql://shop:x@nowhere:5432/shop", "password": "x"},
        }
    )
    platform.kubectl("apply", "--filename=-", content=secret)
    platform.install("--set=database.existingSecret=nowhere", "--set=postgres.password=", wait=False)
    message = until(lambda: waiting(platform, "web", "check-required"), "no check says what is missing")
    assert "nowhere" in message
    assert platform.get("deployment", f"{platform.release}-web")["status"]["availableReplicas"] == 2
    platform.install()
    platform.kubectl("delete", "secret", "nowhere")


def printed(platform: Installation, command: list[str]) -> str:
    """What kubectl prints; its complaint while the pod that it is about does not run yet."""
    try:
        return platform.kubernetes.kubectl(*command)
    except CommandError as error:
        return str(error)


@pytest.mark.long
def test_a_failed_migration_is_named_and_the_old_pods_serve(platform: Installation) -> None:
    platform.install("--set=extraEnv[2].name=LATER", "--set-string=extraEnv[2].value=yes", wait=False)
    try:
        message = until(lambda: waiting(platform, "web", "check-required"), "no check says what is missing")
        assert "later.0001_fails" in message
        # What it says to do shows why.
        command = shlex.split(message.partition("kubectl ")[2])
        until(lambda: "no_such_table" in printed(platform, command), f"{command} does not say why")
        until(lambda: any(map(has_failed, platform.get("jobs")["items"])), "the Job does not fail")
        assert platform.get("deployment", f"{platform.release}-web")["status"]["availableReplicas"] == 2
    finally:
        platform.install()


@pytest.mark.long
def test_a_drained_node_hands_its_work_over(platform: Installation, second_node: str) -> None:
    nodes = [each["metadata"]["name"] for each in platform.get("nodes")["items"]]
    others = [name for name in nodes if name != second_node]
    platform.kubectl("cordon", *others)
    try:
        # What runs bodies starts anew, and only the second node takes it.
        selector = "app.kubernetes.io/component in (worker,service)"
        platform.kubectl("delete", "pod", f"--selector={selector}")
        running = {
            engine: [
                platform.enqueue("slow", WORKFLOW_SECONDS, engine=engine),
                platform.enqueue("stepped", 1, WORKFLOW_SECONDS, engine=engine),
            ]
            for engine in ("celery", "restate")
        }
        for slow, stepped in running.values():
            in_phase(platform, slow, "running")
            in_phase(platform, stepped, "sleeping")
    finally:
        platform.kubectl("uncordon", *others)
    platform.kubectl("drain", second_node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=180s")
    try:
        for executions in running.values():
            assert [platform.finished(each) for each in executions] == ["succeeded", "succeeded"]
    finally:
        platform.kubectl("uncordon", second_node)


@pytest.mark.long
def test_one_of_three_restate_nodes_killed(platform: Installation, figures: Figures) -> None:
    three = Installation(kubernetes=platform.kubernetes, namespace="three", release="three")
    three.prepare(registrar=False)
    with figures.timed("a platform with three Restate nodes Ready"):
        three.install("--set=restate.nodes=3", "--set=media.enabled=false")
    asleep = three.enqueue("stepped", 1, WORKFLOW_SECONDS, engine="restate")
    in_phase(three, asleep, "sleeping")
    for name in (f"{three.release}-restate-0", f"{three.release}-restate-2"):
        three.kubectl("delete", "pod", name, "--grace-period=0", "--force")
        assert three.finished(three.enqueue("plain", 1, engine="restate")) == "succeeded"
        three.kubectl("rollout", "status", f"statefulset/{three.release}-restate", "--timeout=180s")
    assert three.finished(asleep) == "succeeded"
    three.uninstall()
    three.kubernetes.kubectl("delete", "namespace", "three", "--wait")
