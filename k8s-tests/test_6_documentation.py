"""The commands that docs/kubernetes.md shows, in its order and word for word but for the shop's image and settings."""

import json
import os
import re
import time
from pathlib import Path
from typing import Final

import pytest

from conftest import Figures
from installation import ROOT, Installation

PAGE: Final = ROOT / "docs" / "kubernetes.md"
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
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    assert all(line.startswith("$ ") for line in lines), lines
    return [re.sub(" +", " ", line.removeprefix("$ ")) for line in lines]


def ours(text: str) -> str:
    """A command or the page's values, with the tests' images and settings."""
    for name, other in NAMES.items():
        text = text.replace(name, other)
    return text


@pytest.mark.long
def test_the_commands_that_are_shown_work(platform: Installation, figures: Figures, tmp_path: Path) -> None:
    commands = [command for command in shown() if command not in NOT_RUN]
    assert len(commands) == len(shown()) - len(NOT_RUN)
    platform.uninstall()
    platform.uninstall_registrar()
    (tmp_path / "helm").symlink_to(platform.kubernetes.helm_program)
    (tmp_path / "kubectl").symlink_to(platform.kubernetes.kubectl_program)
    first = tmp_path / "first.yaml"
    (values,) = re.findall(r"^```yaml\n(image:.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(values.splitlines()) <= 10
    first.write_text(ours(values))
    started = 0.0
    # As in a shell whose first folder of programs is this, in the checkout.
    shell = ["env", f"--chdir={ROOT}", f"PATH={tmp_path}{os.pathsep}{os.environ['PATH']}", "sh", "-c"]
    try:
        for command in commands:
            there = ours(command).replace("values.yaml", str(first))
            if "POD" in there:
                pods = platform.kubernetes.get("pods", "--selector=app.kubernetes.io/component=web", namespace="shop")
                there = there.replace("POD", pods["items"][0]["metadata"]["name"])
            if command.startswith("helm install shop"):
                started = time.monotonic()
            with figures.timed(f"  {command.partition(' --')[0]}"):
                platform.kubernetes.run([*shell, there])
            if command.startswith("helm test shop"):
                figures.add(
                    "first install, to a green `helm test` (at most 180 s)", f"{time.monotonic() - started:.1f} s"
                )
    finally:
        # After a failure: on a cluster that stays they would be in the way of the next run.
        for release, namespace in (("shop", "shop"), ("tandem-registrar", platform.registrar_namespace)):
            platform.kubernetes.helm("uninstall", release, f"--namespace={namespace}", "--ignore-not-found", "--wait")
    left = platform.kubernetes.get("deployments,statefulsets,jobs,services", namespace="shop")["items"]
    assert not [item["metadata"]["name"] for item in left], json.dumps(left)
    kept = platform.kubernetes.get("persistentvolumeclaims", namespace="shop")["items"]
    assert kept, "the page says that the volumes stay"
