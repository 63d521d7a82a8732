"""How executions are shown."""

import traceback
import uuid

import pytest

from showcase.executions.reading import plain_errors, title_of
from tandem import Permanent
from tandem.ledger.models import Execution


def traced(error: Exception) -> str:
    try:
        raise error
    except type(error):
        return traceback.format_exc()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            traced(Permanent("The mail server refused the message: 550 no")),
            "The mail server refused the message: 550 no",
        ),
        (traced(ValueError()), "ValueError"),
        (traced(KeyError("name")), "'name'"),
        ("", "No reason was recorded."),
    ],
)
def test_an_error_is_its_words(text: str, expected: str) -> None:
    assert plain_errors([text]) == [expected]


@pytest.mark.parametrize(
    ("task", "arguments", "expected"),
    [
        (
            "showcase.emails.tasks.send_email",
            {"args": ["ann@example.com", "s", "b"], "kwargs": {}},
            "Email to ann@example.com",
        ),
        (
            "showcase.emails.tasks.send_email",
            {"args": [], "kwargs": {"recipient": "ann@example.com"}},
            "Email to ann@example.com",
        ),
        ("showcase.emails.tasks.send_email", {"args": [], "kwargs": {}}, "Email to "),
        ("showcase.emails.tasks.newsletter", {"args": ["title"], "kwargs": {}}, "emails.tasks.newsletter"),
    ],
)
def test_an_email_is_titled_by_its_recipient(task: str, arguments: dict[str, object], expected: str) -> None:
    assert title_of(Execution(id=uuid.uuid4(), task=task, arguments=arguments)) == expected
