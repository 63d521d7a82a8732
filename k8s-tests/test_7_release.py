"""From the last release to this tree, as its users will come: its charts, its images, with its work in the middle."""

import filecmp
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Figures
from installation import ROOT, Installation, until
from released import PREFIX, TAG
from under_load import images_of, load, sound

NAMESPACE = "released"


@pytest.fixture(scope="module")
def tree() -> Path:
    """The release's tree, which `run.py` has written."""
    return Path(os.environ["TANDEM_E2E_RELEASED"])


@pytest.fixture(scope="module")
def release(platform: Installation, tree: Path, figures: Figures) -> Iterator[Installation]:
    """Both charts of the release, installed from nothing: no object, no CustomResourceDefinition of this tree is left."""
    version = version_of(tree)
    platform.uninstall()
    platform.uninstall_registrar()
    platform.kubernetes.kubectl("delete", "customresourcedefinition", "restateservices.tandem.dev", "--wait")
    found = Installation(
        kubernetes=platform.kubernetes,
        namespace=NAMESPACE,
        charts=tree / "charts",
        registrar_image=f"{PREFIX}/registrar",
        values=tree / "k8s-tests" / "values.yaml",
        project_values=tree / "k8s-tests" / "project" / "values.yaml",
        tag=TAG,
    )
    found.prepare()
    with figures.timed(f"both charts of the release {version}, from nothing"):
        found.install_registrar(tag=version)
        found.install(*(of_release(server, version) for server in ("restate", "postgres", "redis")))
    yield found
    found.uninstall()


@pytest.mark.long
def test_the_last_release_is_upgraded_to_this_tree_with_its_work_in_the_middle(
    release: Installation, tree: Path, figures: Figures
) -> None:
    sleepers = [release.enqueue("stepped", 1, 60.0, engine=engine) for engine in ("celery", "restate")]
    load(release, "load-release")
    upgraded = Installation(kubernetes=release.kubernetes, namespace=NAMESPACE)
    with figures.timed("upgrade of the last release to this tree under load"):
        upgraded.install_registrar()
        # A new image of the one PostgreSQL is an outage of it.
        upgraded.install(of_release("postgres", version_of(tree)), tag="1")
    counts = sound(figures, "counts of the upgrade of the last release", release.output("load-release"))
    assert counts["workflows"] > 0
    assert [release.finished(execution) for execution in sleepers] == ["succeeded", "succeeded"]
    until(lambda: images_of(upgraded) == {"1"}, "pods of the release are still there", patience=300)
    upgraded.manage("tandem", "check")


@pytest.mark.long
def test_a_migration_that_was_released_is_what_it_was(tree: Path) -> None:
    """The next release expands or contracts by migrations of its own."""
    before = tree / "src" / "tandem" / "migrations"
    names = sorted(path.name for path in before.glob("*.py"))
    assert names
    same, other, lacking = filecmp.cmpfiles(before, ROOT / "src" / "tandem" / "migrations", names, shallow=False)
    assert (other, lacking) == ([], []), same


def version_of(tree: Path) -> str:
    """Read the version of a tree."""
    return str(tomllib.loads((tree / "pyproject.toml").read_text())["project"]["version"])


def of_release(server: str, version: str) -> str:
    """Name the release's own image of a server."""
    return f"--set-string={server}.image.repository={PREFIX}/{server},{server}.image.tag={version}"
