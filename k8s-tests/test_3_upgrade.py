"""A new image under load, and back again: nothing is lost, nothing fails, the site answers all the time.

Beside it runs another release on the same Restate, which has a prefix for its names; and an app
moves to another service, a queue to another pool.
"""

import json
from collections.abc import Iterator

import pytest

from conftest import Figures
from installation import Installation, until
from under_load import images_of, load, sound

NEIGHBOUR = (
    "--set=web.enabled=false,media.enabled=false,postgres.storage.enabled=false,relay.replicas=1",
    "--set=services.flows.enabled=false,restate.enabled=false,restate.identity.existingSecret=tandem-restate-identity",
    "--set=restate.ingressUrl=http://tandem-restate.tandem.svc:8080",
    "--set=restate.adminUrl=http://tandem-restate-admin.tandem.svc:9070",
)
NEW = "--set-string=restate.image.tag=2,redis.image.tag=2"
# The plain tasks leave the service that takes the rest, and the queue of all load its pool.
MOVED = (
    '--set-json=services.flows.take=["Busy","Stepped","work"]',
    '--set-json=workers.default.queues=["emails"]',
    '--set-json=workers.files.queues=["files","default"]',
)
BAD = '--set-json=services.flows.take=["Busy","Steped","work"]'


@pytest.fixture(scope="module")
def neighbour(platform: Installation, figures: Figures) -> Iterator[Installation]:
    """A second release, with a ledger and a broker of its own, on the first one's Restate."""
    found = Installation(kubernetes=platform.kubernetes, release="second")
    with figures.timed("a second release on the same Restate"):
        found.install(*NEIGHBOUR, "--set=restate.prefix=second", tag="1")
    yield found
    found.uninstall()
    assert not [name for name in serving(platform) if name.startswith(("second.", "moved."))]


def serving(platform: Installation) -> dict[str, str]:
    """Which revision gets the new calls of each of Restate's services."""
    uris = {each["id"]: each["uri"] for each in json.loads(admin(platform, "/deployments"))["deployments"]}
    services = json.loads(admin(platform, "/services"))["services"]
    return {each["name"]: uris[each["deployment_id"]].removeprefix("http://").partition(".")[0] for each in services}


def lacks_the_broker(event: str) -> bool:
    """Whether it says the truth of what cannot work while the broker, which is replaced too, is away."""
    return "Readiness probe" in event and ("-worker-" in event or "-relay-" in event)


def latest(platform: Installation, name: str = "") -> str:
    return str(platform.get("restateservice", name or platform.release)["status"]["latestRevision"])


def test_a_new_image_rolls_out_under_load(platform: Installation, figures: Figures) -> None:
    before, cries = latest(platform), platform.failed_probes()
    load(platform, "load-upgrade")
    with figures.timed("upgrade of every image but PostgreSQL's under load"):
        platform.install_registrar(tag="2")
        platform.install(NEW, tag="2")
    counts = sound(figures, "counts of the upgrade", platform.output("load-upgrade"))
    assert counts["workflows"] > 0
    for server in ("restate", "redis"):
        (pod,) = platform.pods(server)
        assert pod["spec"]["containers"][0]["image"].endswith(":2")
    assert latest(platform) != before
    until(lambda: images_of(platform) == {"2"}, "pods of the old image are still there", patience=300)
    assert {each for each in platform.failed_probes() - cries if not lacks_the_broker(each)} == set()
    assert before in {each["name"] for each in platform.revisions()}
    until(lambda: pods_of(platform, before) == 0, "the old revision keeps its pods though nothing needs it")
    found = serving(platform)
    assert [found[name] for name in ("Busy", "Stepped")] == [latest(platform, "tandem-flows")] * 2
    assert [found[name] for name in ("work", "TandemTasks", "TaskTracker")] == [latest(platform)] * 3


@pytest.mark.long
def test_a_rollback_under_load_comes_back_to_the_old_revision(platform: Installation, figures: Figures) -> None:
    before = latest(platform)
    load(platform, "load-rollback")
    with figures.timed("rollback under load"):
        platform.roll_back("1")
    sound(figures, "counts of the rollback", platform.output("load-rollback"))
    assert latest(platform) != before
    found = serving(platform)
    assert found["work"] == found["TaskTracker"] == latest(platform)
    assert found["Stepped"] == latest(platform, "tandem-flows")


def test_an_upgrade_that_moves_an_app_and_a_queue_loses_nothing_of_two_releases(
    platform: Installation, neighbour: Installation, figures: Figures
) -> None:
    beside = latest(neighbour)
    load(platform, "load-moving")
    load(neighbour, "load-beside")
    with figures.timed("upgrade that moves an app and a queue, beside another release on that Restate"):
        platform.install(NEW, *MOVED, tag="2")
    sound(figures, "counts of that upgrade", platform.output("load-moving"))
    sound(figures, "counts of the other release", neighbour.output("load-beside"))
    found, rest, flows = serving(platform), latest(platform), latest(platform, "tandem-flows")
    assert [found[name] for name in ("Busy", "Stepped", "work")] == [flows] * 3
    assert [found[name] for name in ("TandemTasks", "TaskTracker")] == [rest] * 2
    assert latest(neighbour) == beside
    assert {revision for name, revision in found.items() if name.startswith("second.")} == {beside}


@pytest.mark.long
def test_a_release_changes_its_prefix_under_load(
    platform: Installation, neighbour: Installation, figures: Figures
) -> None:
    """What began under the old names ends there, and the old revision keeps answering to them."""
    before = latest(neighbour)
    load(neighbour, "load-moved")
    with figures.timed("change of a release's prefix under load"):
        neighbour.install(*NEIGHBOUR, "--set=restate.prefix=moved")
    sound(figures, "counts of the change of a prefix", neighbour.output("load-moved"))
    found = serving(platform)
    assert {revision for name, revision in found.items() if name.startswith("second.")} == {before}
    assert {revision for name, revision in found.items() if name.startswith("moved.")} == {latest(neighbour)}


def test_a_name_that_no_code_knows_leaves_the_old_pods_serving(platform: Installation) -> None:
    before = serving(platform)
    platform.install(NEW, *MOVED, BAD, wait=False, tag="2")
    until(lambda: "did you mean 'Stepped'" in said_of_services(platform), "no check says so")
    assert platform.finished(platform.enqueue("stepped", 1, 0.5, engine="restate")) == "succeeded"
    assert serving(platform) == before
    platform.install(NEW, *MOVED)
    assert serving(platform)["Stepped"] == latest(platform, "tandem-flows")


def said_of_services(platform: Installation) -> str:
    """The last words of the check of services' names."""
    return " ".join(
        str(state["terminated"].get("message", ""))
        for pod in platform.pods("service")
        for status in pod["status"].get("initContainerStatuses", [])
        if status["name"] == "check-required"
        for state in (status["state"], status["lastState"])
        if "terminated" in state
    )


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
