"""What people upload: kept privately, in Django's storage."""

from django.apps import AppConfig

__all__ = ["UploadsConfig"]


class UploadsConfig(AppConfig):
    name = "showcase.uploads"
    label = "uploads"
    verbose_name = "Uploads"
