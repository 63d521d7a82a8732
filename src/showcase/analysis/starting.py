"""Starting an analysis: keep the file, write the row, enqueue, in that order."""

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction

from showcase.analysis.models import Analysis
from showcase.analysis.tasks import describe_dataset
from showcase.uploads import receiving, storing
from tandem.ledger.models import Execution

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

__all__ = ["delete", "start"]


def start(file: "UploadedFile[bytes]", *, owner: User, way: str, analysis_id: UUID) -> tuple[Analysis, bool]:
    """Start an analysis, and answer it with True.

    The one that is there already is answered with False: that of one form sent twice (`analysis_id`), or the newest of
    the same content by the same way, unless it came to nothing.
    """
    if found := Analysis.objects.filter(pk=analysis_id, upload__owner=owner).first():
        return found, False
    digest = receiving.digest_of(file)
    for found in Analysis.objects.filter(upload__owner=owner, upload__digest=digest, way=way)[:1]:
        if not _came_to_nothing(found):
            return found, False
    upload = receiving.receive(file, digest=digest, owner=owner)
    try:
        with transaction.atomic():
            call = describe_dataset.using(engine=way or None, owner=str(owner.pk))
            execution = UUID(call.enqueue(str(analysis_id)).id)
            return Analysis.objects.create(pk=analysis_id, upload=upload, way=way, execution=execution), True
    except BaseException:
        storing.remove(upload.pk)
        upload.delete()
        raise


def delete(analysis: Analysis) -> None:
    """Delete an analysis with its files; what runs for it is cancelled."""
    if Execution.objects.filter(pk=analysis.execution).exists():
        describe_dataset.get_result(str(analysis.execution)).cancel(by="the owner, who deleted the file")
    upload = analysis.upload
    analysis.delete()
    upload.delete()
    storing.remove(analysis.pk)
    storing.remove(upload.pk)


def _came_to_nothing(analysis: Analysis) -> bool:
    row = Execution.objects.filter(pk=analysis.execution).only("outcome").first()
    return analysis.described_at is None and (row is None or row.outcome not in {None, "succeeded"})
