"""The limit on what is taken, while it comes in."""

from typing import Any, Final, override

from django.conf import settings
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpRequest

__all__ = ["LimitedUploadHandler", "oversized"]

_OVERSIZED: Final = "showcase.uploads.oversized"


class LimitedUploadHandler(FileUploadHandler):
    """Lets pass `UPLOAD_MOST_BYTES` of a file and drops the rest of a larger one, so that it is never kept."""

    @override
    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        if start + len(raw_data) > settings.UPLOAD_MOST_BYTES:
            if self.request is not None:
                self.request.META[_OVERSIZED] = self.file_name
            raise SkipFile
        return raw_data

    @override
    def file_complete(self, file_size: int) -> Any:
        """Leave the file to the next handler."""
        return None


def oversized(request: HttpRequest) -> str:
    """The name of a file that was dropped for its size; empty where none was. For after the form was read."""
    return str(request.META.get(_OVERSIZED) or "")
