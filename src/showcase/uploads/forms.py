"""The form that takes a file."""

from typing import TYPE_CHECKING, Any, cast, override
from uuid import uuid4

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from showcase.forms import EngineForm
from showcase.uploads.handlers import oversized

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

__all__ = ["UploadForm"]


class UploadForm(EngineForm):
    """A file and where to work on it. `token` names this form as it was shown, so that sending it twice starts one job."""

    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4, required=False)
    file = forms.FileField(max_length=255, label="File")

    field_order = ("token", "file", "engine")

    def __init__(self, request: HttpRequest) -> None:
        if request.method == "POST":
            super().__init__(request.POST, request.FILES)
        else:
            super().__init__()
        self._oversized = oversized(request)
        self.fields["file"].help_text = f"At most {self._most}."

    @property
    def _most(self) -> str:
        return filesizeformat(settings.UPLOAD_MOST_BYTES)

    def clean_token(self) -> Any:
        return self.cleaned_data["token"] or uuid4()

    @override
    def add_error(self, field: str | None, error: Any) -> None:
        if field == "file" and self._oversized:
            error = ValidationError(
                f"{self._oversized} is larger than {self._most}: split it, and send the parts.", code="oversized"
            )
        super().add_error(field, error)

    @property
    def content(self) -> "UploadedFile[bytes]":
        """The file of a valid form."""
        return cast("UploadedFile[bytes]", self.cleaned_data["file"])
