"""dramatiq on Redis: its default middleware, no results."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks import channel
from benchmarks.environment import Environment

__all__ = ["broker", "bulk", "single"]

broker = RedisBroker(url=Environment.read().redis_url)  # type: ignore[no-untyped-call]  # half of it is typed
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(index: int) -> None:
    """Say that it started, and nothing else."""
    channel.record(index)


def single(index: int) -> None:
    """Enqueue one task."""
    noop.send(index)


def bulk(indexes: range) -> None:
    """Enqueue many: dramatiq has no call for it, so one after the other."""
    for index in indexes:
        noop.send(index)
