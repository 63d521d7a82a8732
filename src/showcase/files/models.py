"""What the files app keeps beside Tandem's ledger."""

from typing import ClassVar, Final
from uuid import uuid4

from django.db import models

from showcase.uploads.models import Upload

__all__ = ["CHAIN", "Job", "StepRun"]

CHAIN: Final = "chain"


class Job(models.Model):
    """One uploaded file on its way to a report.

    `way` is an engine, empty where the routes decide, or `chain` for the classic Celery chain, which has no execution.
    What follows `execution` is there once the report is. `rejects`, `cleaned` and `chart` name files in the storage.
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="jobs")
    way = models.CharField(max_length=20, blank=True)
    execution = models.UUIDField(null=True)
    validation = models.JSONField(null=True)
    findings = models.JSONField(null=True)
    rejects = models.CharField(max_length=200, blank=True)
    cleaned = models.CharField(max_length=200, blank=True)
    chart = models.CharField(max_length=200, blank=True)
    reported_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.upload} ({self.way or 'by the routes'})"


class StepRun(models.Model):
    """One run of one step, written as it starts, so that a run that was cut off shows too."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="runs")
    step = models.CharField(max_length=20)
    process = models.PositiveIntegerField()
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return f"{self.step} of {self.job_id} in process {self.process}"
