"""A new image under load, and back again: nothing is lost, nothing fails, the site answers all the time."""

import json
from typing import Any

import pytest

from conftest import Figures
from installation import Installation, until

SECONDS = 75
SLEEP = 15


def load(platform: Installation, name: str) -> None:
    """Start 20 executions a second on both engines, one in five a workflow that sleeps."""
    command = ["python", "-m", "project.load", "--rate=20", f"--seconds={SECONDS}", f"--sleep={SLEEP}"]
    platform.start_pod(name, [*command, f"--site=http://{platform.release}-web/"])
    until(lambda: platform.pod_phase(name) == "Running", f"the pod {name} does not run")


def sound(figures: Figures, what: str, text: str) -> dict[str, Any]:
    """Enter the counts, and compare those that must be 0."""
    (line,) = [line for line in text.splitlines() if line.startswith("{")]
    counts: dict[str, Any] = json.loads(line)
    shown = {key: value for key, value in counts.items() if key != "reasons"}
    figures.add(what, ", ".join(f"{key} {value}" for key, value in shown.items()))
    wrong = {key: counts[key] for key in ("lost", "failed", "stale", "refused_tasks", "refused") if counts[key]}
    assert not wrong, counts
    assert min(counts["enqueued"].values()) > SECONDS * 5, counts
    return counts


def images_of(platform: Installation) -> set[str]:
    """The images of the project's pods that are not on their way out."""
    components = ("web", "relay", "exporter", "worker", "service")
    pods = [pod for component in components for pod in platform.pods(component)]
    return {container["image"].rpartition(":")[2] for pod in pods for container in pod["spec"]["containers"]}


def latest(platform: Installation) -> str:
    return str(platform.get("restateservice", platform.release)["status"]["latestRevision"])


def test_a_new_image_rolls_out_under_load(platform: Installation, figures: Figures) -> None:
    before = latest(platform)
    load(platform, "load-upgrade")
    with figures.timed("upgrade of every image but PostgreSQL's under load"):
        platform.install_registrar(tag="2")
        platform.install("--set-string=restate.image.tag=2,redis.image.tag=2", tag="2")
    counts = sound(figures, "counts of the upgrade", platform.output("load-upgrade"))
    assert counts["workflows"] > 0
    for server in ("restate", "redis"):
        (pod,) = platform.pods(server)
        assert pod["spec"]["containers"][0]["image"].endswith(":2")
    assert latest(platform) != before
    until(lambda: images_of(platform) == {"2"}, "pods of the old image are still there", patience=300)
    assert before in {each["name"] for each in platform.revisions()}
    until(lambda: pods_of(platform, before) == 0, "the old revision keeps its pods though nothing needs it")


@pytest.mark.long
def test_a_rollback_under_load_comes_back_to_the_old_revision(platform: Installation, figures: Figures) -> None:
    before = latest(platform)
    load(platform, "load-rollback")
    with figures.timed("rollback under load"):
        platform.roll_back("1")
    sound(figures, "counts of the rollback", platform.output("load-rollback"))
    assert latest(platform) != before
    endpoints = {each["name"]: each["endpoint"] for each in platform.revisions()}
    services = json.loads(admin(platform, "/services"))["services"]
    deployments = {
        each["id"]: each["uri"].rstrip("/") for each in json.loads(admin(platform, "/deployments"))["deployments"]
    }
    assert {deployments[each["deployment_id"]] for each in services} == {endpoints[latest(platform)].rstrip("/")}


def pods_of(platform: Installation, revision: str) -> int:
    selector = f"--selector=tandem.dev/revision={revision.rpartition('-')[2]}"
    return len(platform.get("pods", selector)["items"])


def admin(platform: Installation, path: str) -> str:
    """Ask Restate's admin API from the relay's pod, which may."""
    code = (
        "import os, urllib.request;"
        f" print(urllib.request.urlopen(os.environ['TANDEM_RESTATE_ADMIN_URL'] + '{path}', timeout=20).read().decode())"
    )
    return platform.kubectl("exec", f"deployment/{platform.release}-relay", "--", "python", "-c", code)
