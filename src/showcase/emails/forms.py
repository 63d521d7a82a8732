"""What the pages take from people."""

from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from showcase.emails import recipients
from showcase.emails.tasks import LONGEST_BODY, LONGEST_SUBJECT
from showcase.forms import EngineForm

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

__all__ = ["BulkForm", "MessageForm"]

one_line = RegexValidator(r"[\r\n]", "Write it on one line.", inverse_match=True)


class _Message(EngineForm):
    # Names this form as it was shown, so that sending it twice sends one email.
    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4, required=False)
    subject = forms.CharField(max_length=LONGEST_SUBJECT, strip=True, validators=[one_line], label="Subject")
    body = forms.CharField(max_length=LONGEST_BODY, widget=forms.Textarea(attrs={"rows": 5}), label="Text")

    field_order = ("token", "recipient", "file", "subject", "body", "engine")

    def clean_token(self) -> Any:
        return self.cleaned_data["token"] or uuid4()


class MessageForm(_Message):
    """One email."""

    recipient = forms.EmailField(
        max_length=254,
        label="To",
        help_text="The inbox knows temporary-2@…, reject@…, slow-3@… and drop@…",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )


class BulkForm(_Message):
    """One email for each row of a CSV. After `is_valid`, `persons` and `rejections` hold the rows."""

    file = forms.FileField(
        label="Recipients",
        help_text=f"A CSV in UTF-8 with the columns email and name, at most {recipients.MOST_ROWS:,} rows.",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
    )
    persons: list[recipients.Person]
    rejections: list[recipients.Rejection]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["subject"].help_text = "{name} becomes the recipient's name, here and in the text."

    def clean_file(self) -> "UploadedFile[bytes]":
        file = cast("UploadedFile[bytes]", self.cleaned_data["file"])
        try:
            # One byte more than allowed is enough to know that it is too large.
            self.persons, self.rejections = recipients.read(file.read(recipients.MOST_BYTES + 1))
        except recipients.UnreadableFileError as error:
            raise ValidationError(str(error), code="unreadable") from error
        if not self.persons:
            first = self.rejections[0]
            raise ValidationError(f"No row can be sent. Line {first.line}: {first.reason}", code="nobody")
        return file
