"""Builds the images with Docker or with buildah: `python images/build.py --help`."""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from builders import ASK_SECONDS, BUILD_SECONDS, Buildah, Builder, chosen_builder

__all__ = ["IMAGES", "Image", "Order", "chosen_builder", "client", "main", "ordered", "saved", "version"]

ROOT: Final = Path(__file__).resolve().parent.parent
STAND_IN: Final = "localhost/tandem/base:trixie"
STAND_IN_PACKAGES: Final = "python3,python3-venv,ca-certificates"
BUNDLE: Final = Path("/etc/ssl/certs/ca-certificates.crt")
# What decides where the package clients of a build look: nothing else of the environment gets there.
CLIENT_VARIABLES: Final = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT"),
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT"),
    *("NPM_CONFIG_REGISTRY", "npm_config_registry"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)
CERTIFICATE_VARIABLES: Final = ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One image: its name, the folder its build sees, and the one of ours that it extends, if any."""

    name: str
    context: Path
    parent: str = ""

    @property
    def dockerfile(self) -> Path:
        """The file that describes it."""
        return ROOT / "images" / self.name / "Dockerfile"


IMAGES: Final = (
    Image(name="platform", context=ROOT),
    Image(name="showcase", context=ROOT, parent="platform"),
    Image(name="registrar", context=ROOT),
    *(Image(name=name, context=ROOT / "images" / name) for name in ("restate", "postgres", "redis")),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is asked for: names are `<prefix>/<image>:<tag>`; an empty `base` leaves what the Dockerfile names."""

    prefix: str
    tag: str
    base: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)

    def reference(self, name: str) -> str:
        """The full name of an image."""
        return f"{self.prefix}/{name}:{self.tag}"

    def options(self, image: Image) -> list[str]:
        """What both builders are told about one image; its context comes last."""
        arguments = {"BASE_IMAGE": self.base} if self.base else {}
        if image.parent:
            arguments[f"{image.parent.upper()}_IMAGE"] = self.reference(image.parent)
        arguments |= self.arguments
        return [
            *("--file", str(image.dockerfile), "--tag", self.reference(image.name)),
            *(text for key, value in arguments.items() for text in ("--build-arg", f"{key}={value}")),
            *(text for key, path in self.secrets.items() for text in ("--secret", f"id={key},src={path}")),
            str(image.context),
        ]


def version() -> str:
    """The project's version."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def ordered(names: Sequence[str]) -> list[Image]:
    """The images of these names (all without any) and what they are built from, each after its parent.

    Raises:
        SystemExit: a name that no image has.

    """
    known = {image.name: image for image in IMAGES}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"No image is called {', '.join(map(repr, unknown))}: there are {', '.join(known)}.")
    wanted = set(names or known)
    wanted |= {known[name].parent for name in wanted}
    return [image for image in IMAGES if image.name in wanted]


def client(environment: Mapping[str, str], *, bundle: bool) -> str:
    """The shell script that the builds read as the secret `client`: indexes, proxies and certificates of this machine."""
    settings = {name: environment[name] for name in CLIENT_VARIABLES if environment.get(name)}
    if bundle:
        settings |= dict.fromkeys(CERTIFICATE_VARIABLES, "/run/secrets/ca")
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())


def saved(folder: Path, image: Image) -> Path:
    """Where an image's archive is written."""
    return folder / f"{image.name}.tar"


def main(words: Sequence[str] | None = None) -> None:
    """Build, save and load what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python images/build.py", description="Build the images.")
    parser.add_argument(
        "names", nargs="*", metavar="IMAGE", help=f"of {', '.join(i.name for i in IMAGES)}; default all"
    )
    parser.add_argument("--builder", choices=("docker", "buildah"), help="default: Docker if it runs, else buildah")
    parser.add_argument("--base", default="", help="image to build from: Debian 13 with Python 3.12 or newer")
    parser.add_argument("--mirror", default="", help="Debian archive for the stand-in base of buildah")
    parser.add_argument("--prefix", default="localhost/tandem", help="before each name; default %(default)s")
    parser.add_argument("--tag", default=version(), help="default: the project's version, %(default)s")
    parser.add_argument("--source", default="", help="address of the source code, for the labels")
    parser.add_argument("--quiet", action="store_true", help="print no build's output, but of one that fails")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write each as FOLDER/IMAGE.tar (docker-archive)")
    parser.add_argument("--load", choices=("kind", "local-node"), help="load each into a cluster of this machine")
    options = parser.parse_args(words)
    images = ordered(options.names)
    builder = chosen_builder(options.builder)
    try:
        with tempfile.TemporaryDirectory(prefix="tandem-images.") as temporary:
            scratch = Path(temporary)
            base = options.base or (_stand_in(builder, options.mirror) if isinstance(builder, Buildah) else "")
            arguments = {"VERSION": version(), "REVISION": _revision(), "SOURCE": options.source}
            order = Order(
                prefix=options.prefix, tag=options.tag, base=base, arguments=arguments, secrets=_secrets(scratch)
            )
            quiet = ["--quiet"] if options.quiet else []
            for image in images:
                _timed(f"Built {order.reference(image.name)}", builder, builder.build([*quiet, *order.options(image)]))
            if options.save or options.load:
                _deliver(builder, order, images, folder=options.save or scratch, load=options.load)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"Failed, with its reason above: {shlex.join(map(str, error.cmd))}") from error


def _deliver(builder: Builder, order: Order, images: Sequence[Image], *, folder: Path, load: str | None) -> None:
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    archives = [saved(folder, image) for image in images]
    for image, path in zip(images, archives, strict=True):
        # buildah adds to an archive that is there, and fails.
        path.unlink(missing_ok=True)
        _timed(f"Saved {path}", builder, builder.save(order.reference(image.name), path))
    if load == "kind":
        command = ["kind", "load", "image-archive", "--name", _kind_cluster(), *map(str, archives)]
        subprocess.run(command, check=True, timeout=BUILD_SECONDS)
    elif load == "local-node":
        command = [sys.executable, "-m", "local_node", "load", *map(str, archives)]
        subprocess.run(command, check=True, cwd=ROOT / "k8s-tests", timeout=BUILD_SECONDS)


def _kind_cluster() -> str:
    """The one that kind's own variable names, else that of kind-config.yaml."""
    (name,) = re.findall(r"^name: (\S+)$", (ROOT / "kind-config.yaml").read_text(), re.MULTILINE)
    return os.environ.get("KIND_CLUSTER_NAME") or name


def _timed(done: str, builder: Builder, command: Sequence[str]) -> None:
    started = time.monotonic()
    builder.run(command)
    print(f"{done} in {time.monotonic() - started:.1f} s", flush=True)


def _stand_in(builder: Buildah, mirror: str) -> str:
    """Make the base image for a machine without a registry, once: Debian 13 with Python."""
    if builder.has(STAND_IN):
        return STAND_IN
    if not shutil.which("mmdebstrap"):
        raise SystemExit(
            "No base image: name one by --base, or install mmdebstrap, which makes one from Debian packages."
        )
    with tempfile.TemporaryDirectory(dir=builder.folder / "tmp") as temporary:
        archive, dockerfile = Path(temporary) / "base.tar", Path(temporary) / "Dockerfile"
        command = [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={STAND_IN_PACKAGES}",
            "trixie",
            str(archive),
        ]
        _timed("Made a Debian 13 root", builder, [*command, mirror] if mirror else command)
        dockerfile.write_text('FROM scratch\nADD base.tar /\nCMD ["python3"]\n')
        builder.run(builder.build(["--quiet", "--file", str(dockerfile), "--tag", STAND_IN, temporary]))
    return STAND_IN


def _revision() -> str:
    """The commit that is built, `-dirty` after it when there are changes; nothing outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty"]
    answer = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=ASK_SECONDS)
    return answer.stdout.strip()


def _secrets(folder: Path) -> dict[str, Path]:
    """What the builds may read and no image keeps: this machine's certificates, and where its package clients look."""
    bundle = Path(os.environ.get("SSL_CERT_FILE") or BUNDLE)
    script = folder / "client"
    script.touch(mode=0o600)
    script.write_text(client(os.environ, bundle=bundle.is_file()))
    return {"client": script} | ({"ca": bundle} if bundle.is_file() else {})


if __name__ == "__main__":
    main()
