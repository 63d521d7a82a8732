"""What the files app keeps beside Tandem's ledger."""

from typing import Final

from django.db import models

from showcase.uploads.models import Run, Work

__all__ = ["CHAIN", "Job", "StepRun"]

CHAIN: Final = "chain"


class Job(Work):
    """One uploaded file on its way to a report; by the way `chain`, the classic Celery chain, it has no execution.

    All is there once the report is. `rejects`, `cleaned` and `chart` name files in the storage.
    """

    validation = models.JSONField(null=True)
    findings = models.JSONField(null=True)
    rejects = models.CharField(max_length=200, blank=True)
    cleaned = models.CharField(max_length=200, blank=True)
    chart = models.CharField(max_length=200, blank=True)
    reported_at = models.DateTimeField(null=True)

    @property
    def is_made(self) -> bool:
        return self.reported_at is not None


class StepRun(Run):
    """One run of one step of a job."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="runs")

    def __str__(self) -> str:
        return f"{self.step} of {self.job_id} in process {self.process}"
