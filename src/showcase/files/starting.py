"""Starting a job: keep the file, write the row, enqueue, in that order."""

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction

from showcase.files import classic
from showcase.files.models import CHAIN, Job
from showcase.files.tasks import run_file_workflow
from showcase.uploads import receiving, storing
from tandem.ledger.models import Execution

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

__all__ = ["delete", "start"]


def start(file: "UploadedFile[bytes]", *, owner: User, way: str, job_id: UUID) -> tuple[Job, bool]:
    """Start a job, and answer it with True.

    The job that is there already is answered with False: that of one form sent twice (`job_id`), or the newest of the
    same content by the same way, unless it came to nothing.
    """
    if found := Job.objects.filter(pk=job_id, upload__owner=owner).first():
        return found, False
    digest = receiving.digest_of(file)
    for found in Job.objects.filter(upload__owner=owner, upload__digest=digest, way=way)[:1]:
        if not _came_to_nothing(found):
            return found, False
    upload = receiving.receive(file, digest=digest, owner=owner)
    try:
        with transaction.atomic():
            job = Job.objects.create(pk=job_id, upload=upload, way=way)
            if way != CHAIN:
                call = run_file_workflow.using(engine=way or None, owner=str(owner.pk))
                job.execution = UUID(call.enqueue(str(job.pk)).id)
                job.save(update_fields=["execution"])
    except BaseException:
        storing.remove(upload.pk)
        upload.delete()
        raise
    if way == CHAIN:
        # Nothing ties this send to the row: a crash in between leaves a job that never begins.
        classic.start(str(job.pk))
    return job, True


def delete(job: Job) -> None:
    """Delete a job with its files; what runs for it is cancelled."""
    if job.execution is not None and (row := Execution.objects.filter(pk=job.execution).first()):
        run_file_workflow.get_result(str(row.pk)).cancel(by="the owner, who deleted the file")
    upload = job.upload
    job.delete()
    upload.delete()
    storing.remove(job.pk)
    storing.remove(upload.pk)


def _came_to_nothing(job: Job) -> bool:
    if job.execution is None:
        return job.reported_at is None
    row = Execution.objects.filter(pk=job.execution).only("outcome").first()
    return job.reported_at is None and (row is None or row.outcome not in {None, "succeeded"})
