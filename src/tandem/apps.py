"""The Django app that brings the management command and the checks."""

from django.apps import AppConfig

__all__ = ["TandemConfig"]


class TandemConfig(AppConfig):
    """Tandem; add `"tandem"` and `"tandem.ledger"` to `INSTALLED_APPS`."""

    name = "tandem"
    label = "tandem"
    verbose_name = "Tandem"
