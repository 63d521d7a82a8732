"""An uploaded file, whose it is, and what is made of it."""

from typing import ClassVar
from uuid import uuid4

from django.conf import settings
from django.db import models

from tandem.ledger.models import Execution

__all__ = ["Run", "Upload", "Work"]


class Upload(models.Model):
    """One file as it came. `name` is what its owner called it, for people to read; where it is stored is never made of it."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="uploads")
    name = models.CharField(max_length=255)
    size = models.PositiveBigIntegerField()
    digest = models.CharField(max_length=64, help_text="SHA-256 of the content, in hexadecimal.")
    stored = models.CharField(max_length=200, help_text="Its name in the storage.")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Work(models.Model):
    """What is made of one upload. `way` is an engine, empty where the routes decide; `execution` is none where none makes it."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="+")
    way = models.CharField(max_length=20, blank=True)
    execution = models.UUIDField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True
        ordering: ClassVar = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.upload} ({self.way or 'by the routes'})"

    @property
    def is_made(self) -> bool:
        """Whether all of it is there to be read."""
        raise NotImplementedError

    @property
    def came_to_nothing(self) -> bool:
        """Whether it is not made, and nothing makes it."""
        if self.is_made or self.execution is None:
            return not self.is_made
        row = Execution.objects.filter(pk=self.execution).only("outcome").first()
        return row is None or row.outcome not in {None, "succeeded"}


class Run(models.Model):
    """One run of one step, written as it starts, so that a run that was cut off shows too."""

    step = models.CharField(max_length=20)
    process = models.PositiveIntegerField()
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
        ordering: ClassVar = ["pk"]
