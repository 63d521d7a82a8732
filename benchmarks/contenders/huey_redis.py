"""huey on Redis: results as it keeps them by default, which are those that are not None."""

from huey import RedisHuey

from benchmarks import channel
from benchmarks.environment import Environment

__all__ = ["bulk", "huey", "single"]

huey = RedisHuey("benchmark", url=Environment.read().redis_url)


@huey.task()
def noop(index: int) -> None:
    """Say that it started, and nothing else."""
    channel.record(index)


def single(index: int) -> None:
    """Enqueue one task."""
    noop(index)


def bulk(indexes: range) -> None:
    """Enqueue many: huey's `map` is a loop too."""
    for index in indexes:
        noop(index)
