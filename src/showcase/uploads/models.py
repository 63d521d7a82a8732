"""An uploaded file, and whose it is."""

from uuid import uuid4

from django.conf import settings
from django.db import models

__all__ = ["Upload"]


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
