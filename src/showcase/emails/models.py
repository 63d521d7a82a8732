"""What the emails app keeps beside Tandem's ledger."""

from typing import ClassVar
from uuid import uuid4

from django.db import models

__all__ = ["Batch", "Delivery", "Recipient", "SectionRun"]


class Batch(models.Model):
    """One bulk sending. `rejected` lists the rows of its file that were not sent: line and reason."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    subject = models.CharField(max_length=200)
    engine = models.CharField(max_length=20, blank=True)
    owner = models.CharField(max_length=255, null=True)  # noqa: DJ001  # null: nobody, as an execution's
    total = models.PositiveIntegerField()
    rejected = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.subject} to {self.total}"


class Recipient(models.Model):
    """One person of a batch, and the execution that writes to them."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="recipients", db_index=False)
    line = models.PositiveIntegerField()
    email = models.EmailField()
    name = models.CharField(max_length=200, blank=True)
    execution = models.UUIDField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["batch", "line"], name="emails_recipient_line")]

    def __str__(self) -> str:
        return self.email


class Delivery(models.Model):
    """One accepted message. A second attempt to record the same Message-ID finds the first."""

    message_id = models.CharField(primary_key=True, max_length=255)
    recipient = models.EmailField()
    subject = models.CharField(max_length=200)
    answer = models.CharField(max_length=1000)
    recorded_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.message_id


class SectionRun(models.Model):
    """One run of one section of a newsletter, written as it starts, so that a run that was cut off shows too."""

    newsletter = models.CharField(max_length=100, db_index=True)
    section = models.PositiveIntegerField()
    process = models.PositiveIntegerField()
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.newsletter} section {self.section} in process {self.process}"
