"""Starting a job, by either way."""

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth.models import User
from kombu.exceptions import OperationalError

from showcase.files import classic
from showcase.files.models import CHAIN, Job
from showcase.files.tasks import run_file_workflow
from showcase.uploads import starting

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

__all__ = ["start"]


def start(file: "UploadedFile[bytes]", *, owner: User, way: str, pk: UUID) -> tuple[Job, bool]:
    """As `showcase.uploads.starting.start`."""

    def enqueue(job: Job) -> UUID | None:
        if way == CHAIN:
            return None
        return UUID(run_file_workflow.using(engine=way or None, owner=str(owner.pk)).enqueue(str(job.pk)).id)

    job, new = starting.start(Job, file, owner=owner, way=way, pk=pk, enqueue=enqueue)
    if new and way == CHAIN:
        # Nothing ties this send to the row: a crash in between leaves a job that never begins.
        try:
            classic.start(str(job.pk))
        except OperationalError:
            starting.delete(job)
            raise
    return job, new
