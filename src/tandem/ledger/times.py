"""Times between the ledger, where each has a zone, and Django, where none has one under `USE_TZ = False`."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connections
from django.utils import timezone

from tandem.ledger.connection import LEDGER_DATABASE

__all__ = ["as_django", "in_utc"]


def in_utc(time: datetime) -> datetime:
    """The moment that a time of Django's means; one without a zone is of the `default` database's, as for the ORM."""
    return (timezone.make_aware(time, _zone()) if timezone.is_naive(time) else time).astimezone(UTC)


def as_django(time: datetime) -> datetime:
    """A moment as the ORM reads it: without a zone, in the `default` database's, under `USE_TZ = False`."""
    return time if settings.USE_TZ or timezone.is_naive(time) else timezone.make_naive(time, _zone())


def _zone() -> ZoneInfo:
    return ZoneInfo(connections[LEDGER_DATABASE].timezone_name)
