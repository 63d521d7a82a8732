"""What steps that work on files share: a place to work in, files that may be gone, owners who delete, progress."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from django.utils import timezone

from showcase.uploads import storing
from showcase.uploads.models import Run, Work
from tandem import Context, Permanent

__all__ = ["Tick", "find", "forget", "kept", "progress", "running"]

type Tick = Callable[[int, int], None]
"""Told how much is done, and of how much."""


def find[W: Work](model: type[W], pk: str) -> W:
    """The work, with its upload and owner. Raises `Permanent` where its owner deleted it."""
    work = model._default_manager.select_related("upload__owner").filter(pk=UUID(pk)).first()  # noqa: SLF001 - Django's documented name
    if work is None:
        raise Permanent("The file was deleted by its owner.")
    return work


def forget(model: type[Work], pk: str) -> None:
    """Remove what a step kept while the owner deleted the work."""
    if not model._default_manager.filter(pk=UUID(pk)).exists():  # noqa: SLF001 - Django's documented name
        storing.remove(UUID(pk))


@contextmanager
def running(work: Work, run: Run) -> Iterator[Path]:
    """Write that this process begins `run`, give a folder to work in, and write that it ended, unless it failed."""
    run.process = os.getpid()
    run.save(force_insert=True)
    with storing.workspace(work.pk) as folder:
        yield folder
    # The row may be gone: the owner has deleted the work meanwhile.
    type(run)._default_manager.filter(pk=run.pk).update(finished_at=timezone.now())  # noqa: SLF001 - as above


@contextmanager
def kept(name: str, what: str) -> Iterator[Path]:
    """Give the path of a kept file. Raises `Permanent` where `what` is gone."""
    try:
        with storing.local(name) as path:
            yield path
    except FileNotFoundError as error:
        raise Permanent(f"{what} is not there any more: upload the file again.") from error


def progress(context: Context, part: range, message: str) -> Tick:
    """Tell of a part of all work, from its start to its stop, in hundredths."""

    def tick(done: int, total: int) -> None:
        share = done / total if total else 1.0
        context.progress(part.start + share * len(part), total=100, message=message)

    return tick
