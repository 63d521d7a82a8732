"""What the analysis page takes."""

from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest

from showcase.data import samples
from showcase.uploads.forms import UploadForm

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

__all__ = ["AnalysisForm"]

NO_SAMPLE: Final = ("", "None: the file above")


class AnalysisForm(UploadForm):
    """A data set, the visitor's own or a sample."""

    sample = forms.ChoiceField(required=False, label="Or a sample")

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        self.fields["file"].label = "CSV or Parquet"
        self.fields["file"].required = False
        self.fields["file"].widget.attrs["accept"] = ".csv,.parquet,text/csv"
        choice = self.fields["sample"]
        if isinstance(choice, forms.ChoiceField):
            choice.choices = [NO_SAMPLE, *((name, name) for name in samples())]
        self.order_fields(["token", "file", "sample", "engine"])

    def clean(self) -> dict[str, Any]:
        fields = super().clean() or self.cleaned_data
        if bool(fields.get("file")) == bool(fields.get("sample")) and not self.errors:
            self.add_error("file", ValidationError("Choose a file or a sample, one of both.", code="one"))
        return fields

    @property
    def content(self) -> "UploadedFile[bytes]":
        """The file of a valid form: the sample where one is chosen."""
        sample = self.cleaned_data["sample"]
        return SimpleUploadedFile(sample, samples()[sample].read_bytes()) if sample else super().content
