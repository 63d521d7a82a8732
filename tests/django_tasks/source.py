"""Django's tests from its source distribution: fetched once for each version, kept outside the checkout, adapted."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

import django

from local_node.programs import cache

__all__ = ["laid_out"]

ROOT: Final = Path(__file__).resolve().parents[2]
FETCH_SECONDS: Final = 600
ADAPTER: Final = "tests.django_tasks.adapter"

# Django's two backends are Tandem's of the same use, and a case may use the database that a backend needs.
ADAPTED: Final = {
    "django.tasks.backends.dummy": ADAPTER,
    "django.tasks.backends.immediate": ADAPTER,
    "from django.test import": f"from {ADAPTER} import",
}


def laid_out(folder: Path) -> Path:
    """Lay out Django's `tests/tasks` as the package `tasks` in `folder`, with the backends' names adapted."""
    with tarfile.open(_source()) as archive:
        prefix = f"django-{django.__version__}/tests/"
        members = [item for item in archive.getmembers() if item.name.startswith(f"{prefix}tasks/")]
        for item in members:
            item.name = item.name.removeprefix(prefix)
        archive.extractall(folder, members, filter="data")
    for path in (folder / "tasks").glob("*.py"):
        text = path.read_text()
        for name, ours in ADAPTED.items():
            text = text.replace(name, ours)
        path.write_text(text)
    return folder / "tasks"


def _source() -> Path:
    """The source distribution of the installed Django, by the ordinary client."""
    kept = cache() / "django" / f"django-{django.__version__}.tar.gz"
    if kept.exists():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    uv = subprocess.run(["sh", ROOT / ".ci" / "uv"], check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        command = [uv.strip(), "tool", "run", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", ":all:", "--dest", folder, f"django=={django.__version__}"]
        subprocess.run(command, check=True, timeout=FETCH_SECONDS, env=_python())
        # Another run may have fetched it meanwhile: the last one wins, and both are whole.
        shutil.move(Path(folder) / kept.name, kept)
    return kept


def _python() -> dict[str, str]:
    """The environment in which uv's tools run by a Python that this Django supports: pip offers no other."""
    return {**os.environ, "UV_PYTHON": sys.executable}
