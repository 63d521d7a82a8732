"""What the files page takes."""

from django import forms
from django.http import HttpRequest

from showcase.files.models import CHAIN
from showcase.forms import ENGINES
from showcase.uploads.forms import UploadForm

__all__ = ["JobForm"]


class JobForm(UploadForm):
    """A file of orders, and the way it goes."""

    engine = forms.ChoiceField(
        choices=[*ENGINES, (CHAIN, "A classic Celery chain, for comparison")], required=False, label="Way"
    )

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        self.fields["file"].label = "CSV of orders"
        self.fields["file"].widget.attrs["accept"] = ".csv,text/csv"
