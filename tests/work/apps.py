"""The app whose tasks the tests run."""

from django.apps import AppConfig


class WorkConfig(AppConfig):
    name = "tests.work"
    label = "work"
    restate_service = "Work"
