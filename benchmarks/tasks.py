"""The no-op as a Tandem task; one body for both engines."""

from benchmarks import channel
from tandem import task

__all__ = ["noop"]


@task
def noop(index: int) -> None:
    """Say that it started, and nothing else."""
    channel.record(index)
