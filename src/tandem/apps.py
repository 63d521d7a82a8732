"""The Django app: the ledger's tables, the management command, the checks."""

from importlib import import_module

from django.apps import AppConfig

__all__ = ["TandemConfig"]


class TandemConfig(AppConfig):
    """Tandem and its ledger; add `"tandem"` to `INSTALLED_APPS`."""

    name = "tandem"
    label = "tandem"
    verbose_name = "Tandem"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have Django check its task backends: it does so once something has imported `django.tasks`."""
        import_module("django.tasks")
