"""What the analysis app keeps beside Tandem's ledger."""

from django.db import models

from showcase.uploads.models import Run, Work

__all__ = ["Analysis", "StepRun"]


class Analysis(Work):
    """One data set on its way to its description.

    `findings` is there once all of it is: what was prepared, each column, the correlations, and the names of the
    pictures in the storage.
    """

    findings = models.JSONField(null=True)
    described_at = models.DateTimeField(null=True)

    class Meta(Work.Meta):
        verbose_name_plural = "analyses"

    @property
    def is_made(self) -> bool:
        return self.described_at is not None


class StepRun(Run):
    """One run of one piece of work; `column` is the one that it describes."""

    analysis = models.ForeignKey(Analysis, on_delete=models.CASCADE, related_name="runs")
    column = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        return f"{self.step} {self.column} of {self.analysis_id} in process {self.process}"
