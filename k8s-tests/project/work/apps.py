"""The app's name."""

from django.apps import AppConfig

__all__ = ["WorkConfig"]


class WorkConfig(AppConfig):
    """The app of the tests' tasks."""

    name = "project.work"
    label = "work"
