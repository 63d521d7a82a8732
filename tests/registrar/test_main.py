"""`python -m registrar` says what it cannot start without, in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "operators" / "registrar" / "src"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"REGISTRAR_PORT": "x"}, "REGISTRAR_PORT: 'x' is no port"),
        ({"KUBECONFIG": ""}, "There is no service account in /var/run/secrets/kubernetes.io and no kubeconfig"),
        ({"KUBECONFIG": "/nowhere/config"}, "cannot be read: [Errno 2] No such file or directory: '/nowhere/config'"),
    ],
)
def test_it_does_not_start_without(environment: dict[str, str], words: str, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("REGISTRAR_", "KUBE"))}
    done = subprocess.run(
        [sys.executable, "-m", "registrar"],
        env={**clean, "PYTHONPATH": str(SOURCES), "HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
