"""A release's version stands in many files; what was released of the schema stays as it was."""

import re
from hashlib import sha256
from pathlib import Path

import pytest

from build import version

ROOT = Path(__file__).parents[2]
PLACES = (
    ("charts/tandem/Chart.yaml", r"^version: (\S+)$|^appVersion: (\S+)$|localhost/tandem/\w+:(\S+)$"),
    ("charts/tandem-registrar/Chart.yaml", r"^version: (\S+)$|^appVersion: (\S+)$|localhost/tandem/\w+:(\S+)$"),
    ("charts/tandem/ci/minimal-values.yaml", r"tag: ([^}\s]+)"),
    ("charts/tandem/ci/restate-values.yaml", r"tag: ([^}\s]+)"),
    ("charts/tandem/ci/three-nodes-values.yaml", r"tag: ([^}\s]+)"),
    ("charts/tandem-registrar/ci/namespaces-values.yaml", r"tag: (\S+)"),
    ("operators/registrar/pyproject.toml", r'^version = "(\S+)"$'),
    ("k8s-tests/values.yaml", r"tag: ([^}\s]+)"),
    ("Tiltfile", r"platform:([\d.]+)"),
    ("docs/your-project.md", r"localhost/tandem/platform:([\d.]+\d)|--tag ([\d.]+)"),
    ("images/showcase/Dockerfile", r"^ARG PLATFORM_IMAGE=\S+:(\S+)$"),
    *((f"images/{name}/Dockerfile", r"^ARG VERSION=(\S+)$") for name in ("platform", "showcase", "registrar")),
    *((f"images/{name}/Dockerfile", r"^ARG VERSION=(\S+)$") for name in ("restate", "postgres", "redis")),
)
# From 0.2.0 on the schema expands and contracts by migrations of its own.
MIGRATIONS = {"0001_initial.py": "8b3de8786ba37c8e4afea3f736d816b3b50cb9cd2bab53538f9a78499b8dbf10"}


@pytest.mark.parametrize(("place", "pattern"), PLACES, ids=[place for place, _ in PLACES])
def test_every_place_names_the_one_version(place: str, pattern: str) -> None:
    found = re.findall(pattern, (ROOT / place).read_text(), re.MULTILINE)
    said = {value for match in found for value in ((match,) if isinstance(match, str) else match) if value}
    assert said == {version()}


def test_the_changelog_has_the_version() -> None:
    assert f"\n## {version()} " in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", MIGRATIONS)
def test_a_migration_that_was_released_never_changes(name: str) -> None:
    text = (ROOT / "src" / "tandem" / "migrations" / name).read_bytes()
    assert sha256(text).hexdigest() == MIGRATIONS[name]


def test_the_release_that_is_upgraded_from_is_a_commit() -> None:
    named, commit = (ROOT / "k8s-tests" / "RELEASED").read_text().split()
    assert re.fullmatch(r"\d+\.\d+\.\d+", named)
    assert re.fullmatch(r"[0-9a-f]{40}", commit)
