"""What the figures were taken on."""

import os
import platform
import statistics
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from benchmarks.environment import ROOT

__all__ = ["describe", "disk", "packages"]

_PACKAGES: Final = (
    "celery",
    "kombu",
    "redis",
    "hiredis",
    "django",
    "django-celery-results",
    "django-tasks-db",
    "dbos",
    "dramatiq",
    "huey",
    "psycopg",
    "procrastinate",
    "rq",
    "granian",
    "restate-sdk",
    "hypercorn",
    "django-tandem",
)
_WRITES: Final = 200
_BLOCK: Final = b"\0" * 8192


def describe() -> dict[str, Any]:
    """The machine, and how busy it was with other things before the run."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "commit": _commit(),
    }


def disk(folder: Path) -> dict[str, float]:
    """What a committed write costs where the servers keep their data."""
    taken = []
    with (folder / "write").open("wb", buffering=0) as file:
        for _ in range(_WRITES):
            file.write(_BLOCK)
            begun = time.perf_counter()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - begun) * 1e3)
    return {"fsync_p50_ms": round(statistics.median(taken), 3), "fsync_maximum_ms": round(max(taken), 3)}


def packages() -> dict[str, str]:
    """The contenders' versions."""
    return {name: metadata.version(name) for name in _PACKAGES}


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else "unknown"
