"""What the analysis app keeps beside Tandem's ledger."""

from typing import ClassVar
from uuid import uuid4

from django.db import models

from showcase.uploads.models import Upload

__all__ = ["Analysis", "StepRun"]


class Analysis(models.Model):
    """One data set on its way to its description.

    `way` is an engine, empty where the routes decide. `findings` is there once all of it is: what was prepared, each
    column, the correlations, and the names of the pictures in the storage.
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="analyses")
    way = models.CharField(max_length=20, blank=True)
    execution = models.UUIDField()
    findings = models.JSONField(null=True)
    described_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        verbose_name_plural = "analyses"

    def __str__(self) -> str:
        return f"{self.upload} ({self.way or 'by the routes'})"


class StepRun(models.Model):
    """One run of one piece of work, written as it starts, so that a run that was cut off shows too."""

    analysis = models.ForeignKey(Analysis, on_delete=models.CASCADE, related_name="runs")
    step = models.CharField(max_length=20)
    column = models.CharField(max_length=300, blank=True)
    process = models.PositiveIntegerField()
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return f"{self.step} {self.column} of {self.analysis_id} in process {self.process}"
