"""What an email says, and what is no email."""

from typing import Any

import pytest

from showcase.emails.tasks import compose
from tandem import Permanent

KEY = "00000000-0000-5000-8000-000000000001"


def test_the_same_key_makes_the_same_message_id() -> None:
    first = compose("ann@example.com", "Hello {name}", "Dear {name}", "Ann", key=KEY)
    second = compose("ann@example.com", "Hello {name}", "Dear {name}", "Ann", key=KEY)
    assert first["message_id"] == second["message_id"]
    assert KEY in first["message_id"]
    assert (first["subject"], first["body"]) == ("Hello Ann", "Dear Ann")


def test_a_name_cannot_write_headers() -> None:
    message = compose("ann@example.com", "Hello {name}", "Text", "Ann\r\nBcc: all@example.com", key=KEY)
    assert message["subject"] == "Hello Ann Bcc: all@example.com"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody", "Hello", "Text", ""), "'nobody' is no email address"),
        ((["ann@example.com"], "Hello", "Text", ""), "recipient must be text"),
        (("ann@example.com", 3, "Text", ""), "subject must be text"),
        (("ann@example.com", " ", "Text", ""), "subject must be text"),
        (("ann@example.com", "Hello", None, ""), "body must be text"),
        (("ann@example.com", "Hello", "x" * 50_001, ""), "body must be text of 1 to 50,000 characters"),
        (("ann@example.com", "Hello", "Text", {}), "name must be text"),
        (("ann@example.com, bob@example.com", "Hello", "Text", ""), "no email address"),
    ],
)
def test_what_is_no_email_fails_for_good(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(Permanent, match=words):
        compose(*arguments, key=KEY)
