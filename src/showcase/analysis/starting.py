"""Starting an analysis."""

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth.models import User

from showcase.analysis.models import Analysis
from showcase.analysis.tasks import describe_dataset
from showcase.uploads import starting

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

__all__ = ["start"]


def start(file: "UploadedFile[bytes]", *, owner: User, way: str, pk: UUID) -> tuple[Analysis, bool]:
    """As `showcase.uploads.starting.start`."""

    def enqueue(analysis: Analysis) -> UUID:
        return UUID(describe_dataset.using(engine=way or None, owner=str(owner.pk)).enqueue(str(analysis.pk)).id)

    return starting.start(Analysis, file, owner=owner, way=way, pk=pk, enqueue=enqueue)
