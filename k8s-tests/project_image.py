"""The image of the tests' project, built as docs/your-project.md says it: its Dockerfile, and its command, word for word.

But for the names of the image and of the settings. The project brings the showcase as code of its own, so that the
image is FROM the platform as any user's, and has what the showcase needs by its own requirements alone.
"""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from builders import BUILD_SECONDS, Buildah, Builder

__all__ = ["CERTIFICATES", "NAME", "build_project", "command", "context", "dockerfile", "pip_configuration"]

ROOT: Final = Path(__file__).resolve().parent.parent
PREFIX: Final = "localhost/tandem"
NAME: Final = "localhost/tandem/project"
CERTIFICATES: Final = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
# What the document's pip.conf may say, by the variables that say it on this machine.
OPTIONS: Final = {
    "index-url": ("PIP_INDEX_URL",),
    "extra-index-url": ("PIP_EXTRA_INDEX_URL",),
    "trusted-host": ("PIP_TRUSTED_HOST",),
    "default-timeout": ("PIP_DEFAULT_TIMEOUT",),
    "proxy": ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"),
}


def dockerfile(root: Path = ROOT, *, prefix: str = PREFIX) -> str:
    """Return the document's Dockerfile for an image FROM the platform, with the tests' settings.

    `root` is another release's tree, `prefix` where its platform is.
    """
    (text,) = [block for block in _blocks(root, "dockerfile") if block.startswith(f"FROM {PREFIX}/platform:")]
    return text.replace("shop.settings", "project.settings").replace(f"FROM {PREFIX}/", f"FROM {prefix}/")


def command(program: str, tag: str, root: Path = ROOT) -> str:
    """Return the document's command for `program`, docker or buildah, with the tests' name of the image."""
    lines = "".join(_blocks(root, "console")).splitlines()
    (line,) = [line for line in lines if line.startswith(f"$ {program} build ")]
    return re.sub(r"registry\.example\.com/shop:\S+", f"{NAME}:{tag}", line.removeprefix("$ "))


def pip_configuration(environment: Mapping[str, str], *, certificate: bool) -> str:
    """Return a `pip.conf` that looks where this machine does."""
    found = {key: next(filter(None, map(environment.get, names)), "") for key, names in OPTIONS.items()}
    if certificate:
        found["cert"] = "/run/secrets/ca"
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in found.items() if value)


def context(folder: Path, tag: str, root: Path = ROOT, *, prefix: str = PREFIX) -> None:
    """Write the folder that a user of the document has: the code, its requirements, the Dockerfile."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "k8s-tests" / "project", folder / "project", ignore=ignored)
    shutil.copytree(root / "src" / "showcase", folder / "showcase", ignore=ignored)
    (folder / "RELEASE").write_text(tag)
    (folder / "Dockerfile").write_text(dockerfile(root, prefix=prefix))
    groups = tomllib.loads((root / "pyproject.toml").read_text())["dependency-groups"]
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in groups["showcase"]))


def build_project(builder: Builder, folder: Path, tag: str, root: Path = ROOT, *, prefix: str = PREFIX) -> str:
    """Build the image below `folder` by the document's own command; answers its name."""
    context(folder / "shop", tag, root, prefix=prefix)
    (folder / "pip.conf").write_text(pip_configuration(os.environ, certificate=CERTIFICATES.is_file()))
    (folder / "ca.pem").write_bytes(CERTIFICATES.read_bytes() if CERTIFICATES.is_file() else b"")
    environment = {**os.environ, **builder.environment}
    program = "docker"
    if isinstance(builder, Buildah):
        program = "buildah"
        # As for a user whose buildah is set up for this machine: where its store is, and that it has no namespaces.
        shim = folder / "bin" / program
        shim.parent.mkdir()
        words = [str(shutil.which(program)), *builder.command()[1:]]
        shim.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        shim.chmod(0o755)
        environment |= {"PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}", "BUILDAH_ISOLATION": "chroot"}
    answer = subprocess.run(
        ["sh", "-c", command(program, tag, root)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder / "shop",
        env=environment,
        timeout=BUILD_SECONDS,
    )
    if answer.returncode:
        raise SystemExit(f"The document's command failed: {command(program, tag, root)}\n{answer.stdout}")
    return f"{NAME}:{tag}"


def _blocks(root: Path, language: str) -> list[str]:
    text = (root / "docs" / "your-project.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
