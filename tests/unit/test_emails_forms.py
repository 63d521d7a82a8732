"""What the pages take, and what they say to what they do not."""

from django.core.files.uploadedfile import SimpleUploadedFile

from showcase.emails.forms import BulkForm, MessageForm

MESSAGE = {"recipient": "ann@example.com", "subject": "Hello", "body": "Text"}
TOKEN = "a4ae6dc1-93f0-4a2a-a2a6-000000000001"


def errors(form: MessageForm | BulkForm) -> dict[str, str]:
    return {
        field: " ".join(messages)
        for field, messages in form.errors.get_json_data().items()
        for messages in [[str(error["message"]) for error in messages]]
    }


def test_a_whole_message_is_valid_and_keeps_its_token() -> None:
    form = MessageForm(MESSAGE | {"engine": "restate", "token": TOKEN})
    assert form.is_valid(), form.errors
    assert str(form.cleaned_data["token"]) == TOKEN
    assert form.cleaned_data["engine"] == "restate"


def test_a_missing_token_is_made() -> None:
    first, second = MessageForm(MESSAGE), MessageForm(MESSAGE)
    assert first.is_valid()
    assert second.is_valid()
    assert first.cleaned_data["token"] != second.cleaned_data["token"]


def test_each_wrong_field_says_what_is_wrong() -> None:
    form = MessageForm({"recipient": "nobody", "subject": "two\r\nlines", "body": " ", "engine": "cron"})
    found = errors(form)
    assert "valid email address" in found["recipient"]
    assert "one line" in found["subject"]
    assert "required" in found["body"]
    assert "cron" in found["engine"]


def test_too_long_a_text_is_refused() -> None:
    found = errors(MessageForm(MESSAGE | {"subject": "x" * 201, "body": "x" * 50_001}))
    assert "200" in found["subject"]
    assert "50000" in found["body"]


def bulk(content: bytes) -> BulkForm:
    file = SimpleUploadedFile("people.csv", content)
    return BulkForm({"subject": "Hello {name}", "body": "Text"}, {"file": file})


def test_a_file_is_read_into_persons_and_rejections() -> None:
    form = bulk(b"email,name\nann@example.com,Ann\nnobody,Bob\n")
    assert form.is_valid(), form.errors
    assert [person.email for person in form.persons] == ["ann@example.com"]
    assert [rejection.line for rejection in form.rejections] == [3]


def test_a_file_nobody_can_be_sent_from_is_an_error_of_the_field() -> None:
    assert errors(bulk(b"email,name\nnobody,Bob\n"))["file"].startswith("No row can be sent. Line 2:")
    assert "columns email and name" in errors(bulk(b"a,b\n1,2\n"))["file"]
    assert "empty" in errors(bulk(b""))["file"]
    assert "the most is" in errors(bulk(b"email\n" + b"x" * 3_000_000))["file"]


def test_no_file_is_an_error_of_the_field() -> None:
    assert "file" in errors(BulkForm({"subject": "Hello", "body": "Text"}, {}))
