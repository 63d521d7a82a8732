"""Tandem, on either engine: the settings' default route says which."""

from benchmarks.tasks import noop

__all__ = ["bulk", "single"]


def single(index: int) -> None:
    """Enqueue one task."""
    noop.enqueue(index)


def bulk(indexes: range) -> None:
    """Enqueue many with one call."""
    noop.enqueue_many([((index,), {}) for index in indexes])
