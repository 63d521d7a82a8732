"""huey on Redis: results as it keeps them by default, which are those that are not None."""

from typing import Any

from huey import RedisHuey

from benchmarks import channel
from benchmarks.environment import Environment

__all__ = ["bulk", "huey", "single"]

huey = RedisHuey("benchmark", url=Environment.read().redis_url)


def _noop(index: int) -> None:
    channel.record(index)


noop: Any = huey.task(name="noop")(_noop)


def single(index: int) -> None:
    """Enqueue one task."""
    noop(index)


def bulk(indexes: range) -> None:
    """Enqueue many: huey's `map` is a loop too."""
    for index in indexes:
        noop(index)
