"""Keeping what came in."""

import hashlib
from typing import TYPE_CHECKING
from uuid import uuid4

from django.contrib.auth.models import User

from showcase.uploads import storing
from showcase.uploads.models import Upload

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

__all__ = ["digest_of", "receive"]


def digest_of(file: "UploadedFile[bytes]") -> str:
    """SHA-256 of the content, in hexadecimal."""
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


def receive(file: "UploadedFile[bytes]", *, digest: str, owner: User) -> Upload:
    """Keep a file, and the row that says whose it is."""
    upload = Upload(id=uuid4(), owner=owner, name=str(file.name)[-255:], size=file.size or 0, digest=digest)
    upload.stored = storing.save(upload.id, file)
    upload.save(force_insert=True)
    return upload
