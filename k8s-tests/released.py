"""The last release: its tree, by the commit that the file RELEASED names, and its images, built by its own programs."""

import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Final

from builders import BUILD_SECONDS, Builder
from project_image import build_project

__all__ = ["NAMED", "PREFIX", "TAG", "images", "named", "tree"]

ROOT: Final = Path(__file__).resolve().parent.parent
NAMED: Final = Path(__file__).with_name("RELEASED")
PREFIX: Final = "localhost/released"
TAG: Final = "released"
IMAGES: Final = ("platform", "registrar", "restate", "postgres", "redis")
FETCH_SECONDS: Final = 300


def named() -> tuple[str, str]:
    """Return the release's version and commit."""
    version, commit = NAMED.read_text().split()
    return version, commit


def tree(folder: Path) -> Path:
    """Write the release's tree into `folder`; fetches its commit where this clone is too shallow to have it.

    Raises:
        SystemExit: the commit is neither here nor to be had.

    """
    version, commit = named()
    if _git("cat-file", "-e", f"{commit}^{{commit}}").returncode:
        fetched = _git("fetch", "--quiet", "--depth=1", "origin", commit)
        if fetched.returncode:
            raise SystemExit(
                f"{NAMED.name} says that {version} is the commit {commit}. This clone lacks it, and could not fetch it:"
                f" {fetched.stderr.decode().strip()}\nHave it here by `git fetch --unshallow origin`, or leave out what"
                " is long by `--short`."
            )
    archive = _git("archive", "--format=tar", commit)
    archive.check_returncode()
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def images(builder: Builder, root: Path, folder: Path) -> list[Path]:
    """Build the images of the release whose tree is `root`, and of the tests' project FROM them; answers their archives."""
    command = [sys.executable, str(root / "images" / "build.py"), "--quiet", f"--prefix={PREFIX}", f"--save={folder}"]
    subprocess.run([*command, *IMAGES], check=True, timeout=len(IMAGES) * BUILD_SECONDS)
    reference = build_project(builder, folder / "released-project", TAG, root, prefix=PREFIX)
    path = folder / "project.tar"
    builder.run(builder.save(reference, path))
    return [*(folder / f"{name}.tar" for name in IMAGES), path]


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *words], check=False, capture_output=True, cwd=ROOT, timeout=FETCH_SECONDS)
