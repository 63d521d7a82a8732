"""The app whose tasks the tests run."""

from importlib import import_module

from django.apps import AppConfig


class WorkConfig(AppConfig):
    name = "tests.work"
    label = "work"
    restate_service = "Work"

    def ready(self) -> None:
        # A task may live in any module, once that is imported.
        for module in ("isolation", "replay", "values", "writing"):
            import_module(f"tests.work.{module}")
