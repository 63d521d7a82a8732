"""Celery by itself: no results, early acknowledgement, everything else at its defaults."""

from typing import Any

from celery import Celery

from benchmarks import channel
from benchmarks.environment import Environment

__all__ = ["app", "bulk", "single"]

app = Celery("celery_plain", broker=Environment.read().redis_url)
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


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
