"""django-tasks-db: Django's own tasks, kept in its database, through the ORM."""

from django.tasks import task

from benchmarks import channel

__all__ = ["bulk", "noop", "single"]


@task
def noop(index: int) -> None:
    """Say that it started, and nothing else."""
    channel.record(index)


def single(index: int) -> None:
    """Enqueue one task."""
    noop.enqueue(index)


def bulk(indexes: range) -> None:
    """Enqueue many: there is no call for it, so one after the other."""
    for index in indexes:
        noop.enqueue(index)
