"""What the pages show of a job."""

import csv
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from django.core.files.storage import default_storage

from showcase.files.models import Job, StepRun
from showcase.uploads import storing
from tandem.ledger.models import Step

__all__ = ["DOWNLOADS", "SAMPLES", "STEPS", "Ran", "kinds", "ran", "rejected_rows", "revenue", "validation"]

STEPS: Final = ("validate", "process", "report")
SHOWN: Final = 20

SAMPLES: Final = ("orders-small.csv", "orders-latin.csv")
DOWNLOADS: Final = {
    "rejects.csv": ("rejects", "text/csv; charset=utf-8"),
    "cleaned.parquet": ("cleaned", "application/vnd.apache.parquet"),
    "chart.png": ("chart", "image/png"),
}
"""What may be fetched of a job: the field that names the file, and its type."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How often a step was started, and its last run."""

    step: str
    times: int
    last: StepRun

    @property
    def seconds(self) -> float | None:
        """How long the last run took, once it ended."""
        return (self.last.finished_at - self.last.started_at).total_seconds() if self.last.finished_at else None


def ran(job: Job) -> list[Ran]:
    """The steps that were started, in their order."""
    runs = list(job.runs.all())
    times = Counter(run.step for run in runs)
    last = {run.step: run for run in runs}
    return [Ran(step=step, times=times[step], last=last[step]) for step in STEPS if step in last]


def validation(job: Job) -> dict[str, Any] | None:
    """What the validation counted: of the report, or before there is one, of the recorded step."""
    if job.validation is not None:
        return dict(job.validation)
    step = Step.objects.filter(execution=job.execution, name="validate", finished_at__isnull=False).first()
    return dict(step.result) if step and isinstance(step.result, dict) else None


def kinds(found: dict[str, Any]) -> list[tuple[str, int]]:
    """Why rows were rejected, the commonest first."""
    return sorted(found.get("kinds", {}).items(), key=lambda pair: (-pair[1], pair[0]))


def revenue(job: Job) -> str:
    """All that was sold, in whole units of the file's currency."""
    cents = (job.findings or {}).get("revenue_cents", 0)
    return f"{cents // 100:,}.{cents % 100:02}"


def rejected_rows(job: Job) -> list[dict[str, str]]:
    """The first rows of the reject file; none before there is one, or where the storage has lost it."""
    if not job.rejects or not default_storage.exists(job.rejects):
        return []
    with storing.local(job.rejects) as path, path.open(encoding="utf-8", newline="") as file:
        return list(islice(csv.DictReader(file), SHOWN))
