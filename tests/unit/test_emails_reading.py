"""How executions are shown."""

import traceback
import uuid

import pytest

from showcase.emails.reading import plain_errors, recipient_of
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
        ("showcase.emails.tasks.send_email", {"args": ["ann@example.com", "s", "b"], "kwargs": {}}, "ann@example.com"),
        (
            "showcase.emails.tasks.send_email",
            {"args": [], "kwargs": {"recipient": "ann@example.com"}},
            "ann@example.com",
        ),
        ("showcase.emails.tasks.send_email", {"args": [], "kwargs": {}}, ""),
        ("showcase.emails.tasks.newsletter", {"args": ["title"], "kwargs": {}}, ""),
    ],
)
def test_the_recipient_is_read_from_the_arguments(task: str, arguments: dict[str, object], expected: str) -> None:
    assert recipient_of(Execution(id=uuid.uuid4(), task=task, arguments=arguments)) == expected
