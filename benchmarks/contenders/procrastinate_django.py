"""procrastinate with its Django integration: jobs are inserted on Django's connection."""

from typing import TYPE_CHECKING

from procrastinate.contrib.django import app

from benchmarks import channel

if TYPE_CHECKING:
    from procrastinate.types import JSONDict

__all__ = ["bulk", "single"]


@app.task(name="noop")
def noop(index: int) -> None:
    """Say that it started, and nothing else."""
    channel.record(index)


def single(index: int) -> None:
    """Enqueue one task."""
    noop.defer(index=index)


def bulk(indexes: range) -> None:
    """Enqueue many with one call."""
    jobs: list[JSONDict] = [{"index": index} for index in indexes]
    noop.batch_defer(*jobs)
