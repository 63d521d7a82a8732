"""Celery with django-celery-results, with the database connection kept between tasks."""

from typing import Any

from celery import Celery

from benchmarks import channel
from benchmarks.environment import Environment

__all__ = ["app", "bulk", "single"]

app = Celery("celery_results", broker=Environment.read().redis_url, backend="django-db")
app.conf.update(broker_connection_retry_on_startup=True)
# As installed, Celery's Django fixup closes the connection around each task, at a third of the speed.
app.conf.CELERY_DB_REUSE_MAX = 2**62


def _noop(index: int) -> None:
    channel.record(index)


noop: Any = app.task(_noop, name="noop")


def single(index: int) -> None:
    """Enqueue one task."""
    noop.delay(index)


def bulk(indexes: range) -> None:
    """Enqueue many: Celery has no call for it, so one after the other."""
    for index in indexes:
        noop.delay(index)
