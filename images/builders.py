"""The programs that build images: how each is called."""

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["ASK_SECONDS", "BUILD_SECONDS", "Buildah", "Builder", "Docker", "chosen_builder", "docker_runs"]

BUILD_SECONDS: Final = 3600
ASK_SECONDS: Final = 20


class Builder(ABC):
    """A program that builds images: how it is called."""

    @abstractmethod
    def build(self, options: Sequence[str]) -> list[str]:
        """The command that builds one image."""

    @abstractmethod
    def save(self, reference: str, path: Path) -> list[str]:
        """The command that writes one image as a docker-archive, without compression."""

    @abstractmethod
    def exists(self, reference: str) -> list[str]:
        """The command that fails when there is no such image here."""

    @property
    def environment(self) -> dict[str, str]:
        """What is added to the environment of each command."""
        return {}

    def run(self, command: Sequence[str]) -> None:
        """Run one of the commands; raises `subprocess.CalledProcessError` when it fails."""
        subprocess.run(command, check=True, timeout=BUILD_SECONDS, env={**os.environ, **self.environment})

    def has(self, reference: str) -> bool:
        """Whether the image is there already."""
        command, environment = self.exists(reference), {**os.environ, **self.environment}
        return subprocess.run(command, check=False, capture_output=True, env=environment).returncode == 0


class Docker(Builder):
    """Docker with BuildKit: the Dockerfiles mount secrets."""

    def build(self, options: Sequence[str]) -> list[str]:
        """The command that builds one image."""
        return ["docker", "build", *options]

    def save(self, reference: str, path: Path) -> list[str]:
        """The command that writes one image as a docker-archive."""
        return ["docker", "save", "--output", str(path), reference]

    def exists(self, reference: str) -> list[str]:
        """The command that fails when there is no such image here."""
        return ["docker", "image", "inspect", reference]

    @property
    def environment(self) -> dict[str, str]:
        """BuildKit, and no attestations: containerd's import of a saved image does not know them."""
        return {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}


class Buildah(Builder):
    """buildah with a store of its own: overlay, since copying each layer whole takes several times as long."""

    def __init__(self, *, folder: Path) -> None:
        self.folder = folder

    def command(self, *words: str) -> list[str]:
        """A command of buildah on this store."""
        store = ("--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run"))
        return ["buildah", *store, "--storage-driver", "overlay", *words]

    def build(self, options: Sequence[str]) -> list[str]:
        """The command that builds one image; without namespaces, so that it works inside a container too."""
        return self.command("build", "--isolation", "chroot", "--layers", "--pull=never", *options)

    def save(self, reference: str, path: Path) -> list[str]:
        """The command that writes one image as a docker-archive."""
        return self.command("push", "--quiet", "--disable-compression", reference, f"docker-archive:{path}:{reference}")

    def exists(self, reference: str) -> list[str]:
        """The command that fails when there is no such image here."""
        return self.command("inspect", "--type", "image", reference)

    @property
    def environment(self) -> dict[str, str]:
        """Where the caches of its `--mount=type=cache` are kept."""
        return {"TMPDIR": str(self.folder / "tmp")}


def chosen_builder(name: str | None = None) -> Builder:
    """Docker if it runs, else buildah; or the one that is named. Raises `SystemExit` where there is none."""
    if name == "docker" or (name is None and docker_runs()):
        return Docker()
    if not shutil.which("buildah"):
        raise SystemExit("Docker does not run here, and there is no buildah: start it, or install buildah.")
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "k8s-tests"))
    from local_node.programs import cache  # noqa: PLC0415 - lies beside this folder, not on the path

    builder = Buildah(folder=cache() / "buildah")
    (builder.folder / "tmp").mkdir(parents=True, exist_ok=True)
    return builder


def docker_runs() -> bool:
    """Whether there is a Docker whose daemon answers."""
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=ASK_SECONDS).returncode == 0
