"""Starting work on a file: keep the file, write the row, enqueue, in that order. And the end of it all."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.tasks import default_task_backend
from django.tasks.exceptions import TaskResultDoesNotExist

from showcase.uploads import receiving, storing
from showcase.uploads.models import Work
from tandem.declarations import TaskResult

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

__all__ = ["delete", "start"]


def start[W: Work](
    model: type[W],
    file: "UploadedFile[bytes]",
    *,
    owner: User,
    way: str,
    pk: UUID,
    enqueue: Callable[[W], UUID | None],
) -> tuple[W, bool]:
    """Start work, and answer it with True. `enqueue` is called in the row's transaction, and answers the execution.

    What is there already is answered with False: that of one form sent twice (`pk`), or the newest of the same content
    by the same way, unless it came to nothing.
    """
    mine = model._default_manager.filter(upload__owner=owner)  # noqa: SLF001 - Django's documented name
    if (found := mine.filter(pk=pk).first()) is not None:
        return found, False
    digest = receiving.digest_of(file)
    newest = mine.filter(upload__digest=digest, way=way).first()
    if newest is not None and not newest.came_to_nothing:
        return newest, False
    upload = receiving.receive(file, digest=digest, owner=owner)
    try:
        with transaction.atomic():
            work = model(pk=pk, upload=upload, way=way)
            work.save(force_insert=True)
            work.execution = enqueue(work)
            work.save(update_fields=["execution"])
    except BaseException:
        storing.remove(upload.pk)
        upload.delete()
        raise
    return work, True


def delete(work: Work) -> None:
    """Delete work with its files; what runs for it is cancelled."""
    if work.execution is not None:
        _cancel(work.execution)
    pk, upload = work.pk, work.upload
    work.delete()
    upload.delete()
    storing.remove(pk)
    storing.remove(upload.pk)


def _cancel(execution: UUID) -> None:
    try:
        result = default_task_backend.get_result(str(execution))
    except TaskResultDoesNotExist:
        # Pruned.
        return
    if isinstance(result, TaskResult):
        result.cancel(by="the owner, who deleted the file")
