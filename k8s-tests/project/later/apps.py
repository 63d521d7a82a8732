"""The app's name."""

from django.apps import AppConfig

__all__ = ["LaterConfig"]


class LaterConfig(AppConfig):
    """An app without models."""

    name = "project.later"
    label = "later"
