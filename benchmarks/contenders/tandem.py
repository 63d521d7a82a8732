"""Tandem, on either engine: the settings' default route says which."""

from benchmarks import tasks

__all__ = ["bulk", "single", "stepped", "workflow"]


def single(index: int) -> None:
    """Enqueue one task."""
    tasks.noop.enqueue(index)


def bulk(indexes: range) -> None:
    """Enqueue many with one call."""
    tasks.noop.enqueue_many([((index,), {}) for index in indexes])


def stepped(indexes: range) -> None:
    """As `bulk`, with steps."""
    tasks.stepped.enqueue_many([((index,), {}) for index in indexes])


def workflow(indexes: range) -> None:
    """As `bulk`, with a sleep and children."""
    tasks.workflow.enqueue_many([((index,), {}) for index in indexes])
