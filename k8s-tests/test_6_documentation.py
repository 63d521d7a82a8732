"""The commands that docs/kubernetes.md shows, in its order and word for word but for the shop's image and settings."""

import json
import os
import re
from pathlib import Path
from typing import Final

import pytest

from conftest import Figures
from installation import ROOT, Installation

# Longer ones first.
NAMES: Final = {
    "registry.example.com/tandem": "localhost/tandem",
    "registry.example.com/shop": "localhost/tandem/project",
    "shop.settings": "project.settings",
    "1.4.0": "1",
    "1.4.1": "2",
}
# They make a cluster and fill it, and need Docker for that.
NOT_RUN: Final = {"kind create cluster --config kind-config.yaml", "tilt up"}


def shown() -> list[str]:
    """The commands, each on one line."""
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    assert all(line.startswith("$ ") for line in lines), lines
    return [re.sub(" +", " ", line.removeprefix("$ ")) for line in lines]


@pytest.mark.long
def test_the_commands_that_are_shown_work(platform: Installation, figures: Figures, tmp_path: Path) -> None:
    commands = [command for command in shown() if command not in NOT_RUN]
    assert len(commands) == len(shown()) - len(NOT_RUN)
    platform.uninstall()
    platform.uninstall_registrar()
    (tmp_path / "helm").symlink_to(platform.kubernetes.helm_program)
    (tmp_path / "kubectl").symlink_to(platform.kubernetes.kubectl_program)
    # As in a shell whose first folder of programs is this, in the checkout.
    shell = ["env", f"--chdir={ROOT}", f"PATH={tmp_path}{os.pathsep}{os.environ['PATH']}", "sh", "-c"]
    try:
        for command in commands:
            there = command
            for name, ours in NAMES.items():
                there = there.replace(name, ours)
            if "POD" in there:
                pods = platform.kubernetes.get("pods", "--selector=app.kubernetes.io/component=web", namespace="shop")
                there = there.replace("POD", pods["items"][0]["metadata"]["name"])
            with figures.timed(f"  {command.partition(' --')[0]}"):
                platform.kubernetes.run([*shell, there])
    finally:
        # After a failure: on a cluster that stays they would be in the way of the next run.
        for release, namespace in (("shop", "shop"), ("tandem-registrar", platform.registrar_namespace)):
            platform.kubernetes.helm("uninstall", release, f"--namespace={namespace}", "--ignore-not-found", "--wait")
    left = platform.kubernetes.get("deployments,statefulsets,jobs,services", namespace="shop")["items"]
    assert not [item["metadata"]["name"] for item in left], json.dumps(left)
    kept = platform.kubernetes.get("persistentvolumeclaims", namespace="shop")["items"]
    assert kept, "the page says that the volumes stay"
