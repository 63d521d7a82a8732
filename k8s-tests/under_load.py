"""What an upgrade is watched with: a steady load from a pod of the project, and what became of every piece of it."""

import json
from typing import Any, Final

from conftest import Figures
from installation import Installation, until

__all__ = ["images_of", "load", "sound"]

SECONDS: Final = 75
RATE: Final = 20
SLEEP: Final = 15


def load(platform: Installation, name: str) -> None:
    """Start 20 executions a second on both engines, one in five a workflow that sleeps."""
    command = ["python", "-m", "project.load", f"--rate={RATE}", f"--seconds={SECONDS}", f"--sleep={SLEEP}"]
    platform.start_pod(name, [*command, "--site=http://tandem-web/"])
    until(lambda: platform.pod_phase(name) == "Running", f"the pod {name} does not run")


def sound(figures: Figures, what: str, text: str) -> dict[str, Any]:
    """Enter the counts, and compare those that must be 0."""
    (line,) = [line for line in text.splitlines() if line.startswith("{")]
    counts: dict[str, Any] = json.loads(line)
    shown = {key: value for key, value in counts.items() if key != "reasons"}
    figures.add(what, ", ".join(f"{key} {value}" for key, value in shown.items()))
    wrong = {key: counts[key] for key in ("lost", "failed", "stale", "refused_tasks", "refused") if counts[key]}
    assert not wrong, counts
    # A load, however crowded the machine: the table says how much of the rate it had.
    assert min(counts["enqueued"].values()) > SECONDS * RATE / 10, counts
    return counts


def images_of(platform: Installation) -> set[str]:
    """The images of the project's pods that are not on their way out."""
    components = ("web", "relay", "exporter", "worker", "service")
    pods = [pod for component in components for pod in platform.pods(component)]
    return {container["image"].rpartition(":")[2] for pod in pods for container in pod["spec"]["containers"]}
