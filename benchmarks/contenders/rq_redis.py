"""rq on Redis, with the worker that its documents advise for production: it forks for each job."""

from redis import Redis
from rq import Queue

from benchmarks import channel
from benchmarks.environment import Environment

__all__ = ["bulk", "noop", "single"]

_queue = Queue(connection=Redis.from_url(Environment.read().redis_url))


def noop(index: int) -> None:
    """Say that it started, and nothing else."""
    channel.record(index)


def single(index: int) -> None:
    """Enqueue one task."""
    _queue.enqueue(noop, index)


def bulk(indexes: range) -> None:
    """Enqueue many with one call."""
    _queue.enqueue_many([Queue.prepare_data(noop, (index,)) for index in indexes])
