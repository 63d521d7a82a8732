"""The Django app that owns the ledger's tables."""

from django.apps import AppConfig

__all__ = ["LedgerConfig"]


class LedgerConfig(AppConfig):
    """The ledger; add `"tandem.ledger"` to `INSTALLED_APPS`."""

    name = "tandem.ledger"
    label = "tandem_ledger"
    verbose_name = "Tandem ledger"
    default_auto_field = "django.db.models.BigAutoField"
