"""The Tiltfile, read as the Python that Starlark is a part of: what it names is there, and fits the charts.

`tilt alpha tiltfile-result` checks more, the names of Tilt's own functions among it; Tilt cannot be had everywhere.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_node.programs import program
from tests.charts.objects import pods
from tests.charts.rendering import CHARTS, Object, load_all

ROOT = CHARTS.parent


@dataclass(kw_only=True)
class Recorder:
    """What the file asks Tilt for."""

    contexts: list[str] = field(default_factory=list)
    kinds: list[tuple[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    images: dict[str, Sequence[str]] = field(default_factory=dict)
    synced: list[str] = field(default_factory=list)
    shell: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    objects: list[Object] = field(default_factory=list)

    def functions(self) -> dict[str, Any]:
        return {
            "allow_k8s_contexts": self.contexts.append,
            "watch_file": self.paths.append,
            "run": self.shell.append,
            "link": lambda address, name: (address, name),
            "fall_back_on": self.paths.extend,
            "sync": self.sync,
            "docker_build": self.docker_build,
            "local": self.local,
            "k8s_yaml": lambda text: self.objects.extend(load_all(text)),
            "encode_yaml": yaml.safe_dump,
            "encode_json": json.dumps,
            "k8s_kind": self.k8s_kind,
            "k8s_resource": self.k8s_resource,
            "local_resource": self.local_resource,
            "TRIGGER_MODE_MANUAL": "manual",
        }

    def sync(self, path: str, to: str) -> None:
        assert to.startswith("/live/")
        self.synced.append(path)

    def docker_build(
        self,
        name: str,
        context: str,
        dockerfile: str = "",
        only: Sequence[str] = (),
        live_update: Sequence[object] = (),
    ) -> None:
        self.paths += [context, dockerfile or f"{context}/Dockerfile", *only]
        self.images[name.partition(":")[0]] = only

    def local(self, command: Sequence[str], *, quiet: bool) -> str:
        assert command[0] == "helm"
        assert quiet
        return subprocess.run(
            [program("helm"), *command[1:]], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def k8s_kind(self, kind: str, *, api_version: str, image_json_path: Sequence[str]) -> None:
        assert all(path.endswith(".image}") for path in image_json_path)
        self.kinds.append((api_version, kind))

    def k8s_resource(self, name: str, **options: object) -> None:
        assert set(options) <= {"labels", "resource_deps", "port_forwards", "links"}
        self.resources.append(name)

    def local_resource(
        self, name: str, command: Sequence[str], *, auto_init: bool, trigger_mode: str, labels: Sequence[str]
    ) -> None:
        assert command[0] == "make"
        self.targets.append(command[1])


@pytest.fixture(scope="module")
def recorded() -> Recorder:
    recorder = Recorder()
    exec((ROOT / "Tiltfile").read_text(), recorder.functions())
    return recorder


def test_it_is_for_the_cluster_of_the_kind_configuration(recorded: Recorder) -> None:
    name = yaml.safe_load((ROOT / "kind-config.yaml").read_text())["name"]
    assert recorded.contexts == [f"kind-{name}"]


def test_kinds_that_tilt_does_not_know_are_explained(recorded: Recorder) -> None:
    own = {(one["apiVersion"], one["kind"]) for one in recorded.objects if "tandem.dev/" in one["apiVersion"]}
    assert own == set(recorded.kinds)


def test_the_files_that_it_names_are_there(recorded: Recorder) -> None:
    assert recorded.paths
    assert not [path for path in recorded.paths if not (ROOT / path).exists()]


def test_what_is_copied_into_pods_is_part_of_an_image(recorded: Recorder) -> None:
    built = [path for only in recorded.images.values() for path in only]
    assert recorded.synced
    assert set(recorded.synced) <= set(built)


def images_of(found: Sequence[Object]) -> Iterator[str]:
    for pod in pods(list(found)):
        for container in [*pod.spec.get("initContainers", []), *pod.spec["containers"]]:
            yield container["image"].rpartition(":")[0]


def test_it_builds_every_image_that_its_pods_run(recorded: Recorder) -> None:
    assert set(images_of(recorded.objects)) <= set(recorded.images)


def test_each_resource_is_an_object_of_the_charts(recorded: Recorder) -> None:
    names = {one["metadata"]["name"] for one in recorded.objects if one["kind"] not in {"Service", "ConfigMap"}}
    assert recorded.resources
    assert set(recorded.resources) <= names


def test_reading_it_again_changes_nothing(recorded: Recorder) -> None:
    again = Recorder()
    exec((ROOT / "Tiltfile").read_text(), again.functions())
    # Django's own key may: it costs a developer the session.
    kept = [[one for one in found.objects if one["metadata"]["name"] != "tandem-django"] for found in (recorded, again)]
    assert kept[0] == kept[1]


def test_its_checks_are_targets(recorded: Recorder) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert recorded.targets
    assert all(f"\n{target}:" in makefile for target in recorded.targets)


def test_its_shell_is_shell(recorded: Recorder, tmp_path: Path) -> None:
    services = [one for one in recorded.objects if one["kind"] == "RestateService"]
    (command,) = (one["spec"]["template"]["spec"]["containers"][0]["command"] for one in services)
    for number, text in enumerate([*recorded.shell, command[2]]):
        script = tmp_path / str(number)
        script.write_text(text)
        subprocess.run(["sh", "-n", script], check=True, timeout=10)
