"""Sending one message over SMTP, and what each failure means for a retry."""

import smtplib
from collections.abc import Mapping
from typing import cast

from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, mailers
from django.core.mail.backends.smtp import EmailBackend

from tandem import Permanent, Retryable

__all__ = ["AnsweringBackend", "deliver", "verdict"]

NO_ANSWER = (-1, b"the connection holds no answer")
TEMPORARY = range(400, 500)
PERMANENT = range(500, 600)


class _Answering(smtplib.SMTP):
    """smtplib's client, which also keeps what the server said to the last message."""

    answer: tuple[int, bytes] | None = None

    def data(self, msg: object) -> tuple[int, bytes]:  # smtplib hands it on to its own method
        self.answer = super().data(msg)  # type: ignore[arg-type]  # bytes or str, as smtplib's sendmail passes them
        return self.answer


class _AnsweringTls(_Answering, smtplib.SMTP_SSL):
    """The same over TLS from the first byte."""


class AnsweringBackend(EmailBackend):
    """Django's SMTP backend, whose connection keeps the server's answer to the last message."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return _AnsweringTls if self.use_ssl else _Answering


def deliver(message: EmailMessage) -> dict[str, str | int]:
    """Send `message` to its one recipient and return the server's answer: its code and its words.

    Raises `Retryable` where another attempt may help and `Permanent` where none can, with the server's words.
    """
    backend = mailers["default"]
    if not isinstance(backend, AnsweringBackend):
        raise ImproperlyConfigured(
            f"MAILERS['default'] is {type(backend).__qualname__}; set its BACKEND to"
            f" '{AnsweringBackend.__module__}.{AnsweringBackend.__qualname__}'."
        )
    try:
        # Opened here, so that the connection and its answer outlive send_messages.
        backend.open()
        backend.send_messages([message])
        code, words = cast("_Answering", backend.connection).answer or NO_ANSWER
    except (OSError, ValueError) as error:  # smtplib's exceptions are OSErrors
        raise verdict(error) from error
    finally:
        backend.close()
    return {"code": code, "answer": _text(words)}


def verdict(error: Exception) -> Permanent | Retryable:
    """Turn what sending raised into what a task raises: 4xx and a lost connection may be retried, 5xx may not."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return _refused(error.recipients)
    if isinstance(error, smtplib.SMTPResponseException):
        return _answered(error.smtp_code, _text(error.smtp_error))
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Permanent(f"The mail server lacks what this message needs: {error}")
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return Retryable(f"The mail server closed the connection before it answered: {error}")
    if isinstance(error, OSError):
        return Retryable(f"The mail server cannot be reached: {error}")
    return Permanent(f"The message cannot be sent as it is: {error}")


def _refused(recipients: Mapping[str, tuple[int, bytes]]) -> Permanent | Retryable:
    """Each recipient was refused; one that may be accepted later makes the whole message worth a retry."""
    answers = [(code, _text(words)) for code, words in recipients.values()]
    temporary = [answer for answer in answers if answer[0] not in PERMANENT]
    return _answered(*(temporary or answers)[0])


def _answered(code: int, words: str) -> Permanent | Retryable:
    if code in PERMANENT:
        return Permanent(f"The mail server refused the message: {code} {words}")
    if code in TEMPORARY:
        return Retryable(f"The mail server asks to try again later: {code} {words}")
    return Retryable(f"The mail server gave an answer that SMTP does not know: {code} {words}")


def _text(words: bytes | str) -> str:
    text = words.decode("utf-8", errors="replace") if isinstance(words, bytes) else words
    return " ".join(text.split())
