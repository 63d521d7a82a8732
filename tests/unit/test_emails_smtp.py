"""What each SMTP failure means for a retry."""

import smtplib
import socket

import pytest

from showcase.emails import smtp
from tandem import Permanent, Retryable


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (smtplib.SMTPRecipientsRefused({"a@b": (550, b"5.1.1 no such user")}), Permanent, "550 5.1.1 no such user"),
        (smtplib.SMTPRecipientsRefused({"a@b": (450, b"mailbox busy")}), Retryable, "450 mailbox busy"),
        (smtplib.SMTPRecipientsRefused({"a@b": (550, b"no"), "c@d": (451, b"later")}), Retryable, "451 later"),
        (smtplib.SMTPSenderRefused(553, b"bad sender", "a@b"), Permanent, "553 bad sender"),
        (smtplib.SMTPSenderRefused(421, b"closing", "a@b"), Retryable, "421 closing"),
        (smtplib.SMTPDataError(451, b"try\nlater"), Retryable, "451 try later"),
        (smtplib.SMTPDataError(554, b"spam \xff"), Permanent, "554 spam \ufffd"),
        (smtplib.SMTPConnectError(421, b"too busy"), Retryable, "421 too busy"),
        (smtplib.SMTPAuthenticationError(535, b"bad password"), Permanent, "535 bad password"),
        (smtplib.SMTPHeloError(504, "not you"), Permanent, "504 not you"),
        (smtplib.SMTPResponseException(-1, "nonsense"), Retryable, "does not know: -1 nonsense"),
        (smtplib.SMTPNotSupportedError("no SMTPUTF8"), Permanent, "no SMTPUTF8"),
        (smtplib.SMTPServerDisconnected("Connection unexpectedly closed"), Retryable, "closed the connection"),
        (ConnectionRefusedError(111, "Connection refused"), Retryable, "cannot be reached"),
        (TimeoutError("timed out"), Retryable, "timed out"),
        (socket.gaierror(-2, "Name or service not known"), Retryable, "Name or service not known"),
        (ValueError("Invalid address 'x y'"), Permanent, "Invalid address 'x y'"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"), Permanent, "cannot be sent as it is"),
    ],
)
def test_a_failure_is_retried_only_where_that_can_help(error: Exception, kind: type[Exception], words: str) -> None:
    outcome = smtp.verdict(error)
    assert type(outcome) is kind
    assert words in str(outcome)


def test_the_policy_decides_the_delay() -> None:
    outcome = smtp.verdict(smtplib.SMTPDataError(451, b"later"))
    assert isinstance(outcome, Retryable)
    assert outcome.after is None
