"""The Django app that brings the management command and the checks."""

from importlib import import_module

from django.apps import AppConfig

__all__ = ["TandemConfig"]


class TandemConfig(AppConfig):
    """Tandem; add `"tandem"` and `"tandem.ledger"` to `INSTALLED_APPS`."""

    name = "tandem"
    label = "tandem"
    verbose_name = "Tandem"

    def ready(self) -> None:
        """Have Django check its task backends: it does so once something has imported `django.tasks`."""
        import_module("django.tasks")
