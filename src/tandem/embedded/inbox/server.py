"""How the inbox answers a client that speaks SMTP."""

import asyncio
import contextlib
import email.errors
import email.header
import email.message
import email.parser
import email.policy
import hashlib
import re
import sqlite3
from dataclasses import dataclass

from aiosmtpd.smtp import SMTP, Envelope, Session

from tandem.embedded.inbox.store import Store

__all__ = ["LARGEST_MESSAGE_BYTES", "LONGEST_WAIT_SECONDS", "Behaviour", "Inbox"]

LARGEST_MESSAGE_BYTES = 10 * 1024 * 1024
LONGEST_WAIT_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What one recipient's address asks the server to do."""

    kind: str = "accept"
    number: int = 0

    @classmethod
    def of(cls, recipient: str) -> "Behaviour":
        """Read it from the part before the ``@``; an address that asks for nothing is accepted."""
        local_part = recipient.partition("@")[0].lower()
        if local_part in {"reject", "drop"}:
            return cls(kind=local_part)
        if match := re.fullmatch(r"(temporary|slow)-([0-9]{1,6})", local_part):
            return cls(kind=match[1], number=int(match[2]))
        return cls()


class Inbox:
    """The hooks aiosmtpd calls while a client talks to it."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    async def handle_RCPT(  # noqa: N802 - aiosmtpd finds its hooks by these names
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer one recipient."""
        if Behaviour.of(address).kind == "reject":
            return f"550 5.1.1 <{address}>: this inbox rejects every message to that address"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Answer one whole message."""
        content = envelope.original_content or b""
        headers = email.parser.BytesHeaderParser(policy=email.policy.compat32).parsebytes(content)
        message_id = " ".join(str(headers["Message-ID"] or "").split())
        message_id = message_id or f"<{hashlib.sha256(content).hexdigest()}@without-message-id>"
        asked = [(recipient, Behaviour.of(recipient)) for recipient in envelope.rcpt_tos]
        try:
            for recipient, behaviour in asked:
                if behaviour.kind == "temporary":
                    refusal = self._store.refuse(message_id=message_id, recipient=recipient, times=behaviour.number)
                    if refusal is not None:
                        return f"451 4.3.0 <{recipient}>: try again later, refusal {refusal} of {behaviour.number}"
            seconds = max((behaviour.number for _, behaviour in asked if behaviour.kind == "slow"), default=0)
            await asyncio.sleep(min(seconds, LONGEST_WAIT_SECONDS))
            accepted = self._store.accept(
                message_id=message_id,
                sender=envelope.mail_from or "",
                recipients=list(envelope.rcpt_tos),
                subject=_subject(headers),
                content=content,
            )
        except sqlite3.Error as error:
            return f"452 4.3.1 the message could not be stored: {error}"
        if accepted == 1 and any(behaviour.kind == "drop" for _, behaviour in asked):
            await _hang_up(server)
        return "250 2.0.0 accepted" if accepted == 1 else f"250 2.0.0 accepted, {accepted} times by now"


def _subject(headers: email.message.Message) -> str:
    """Return the subject on one line, MIME words decoded where they can be."""
    raw = str(headers["Subject"] or "")
    # A subject nobody can decode is shown as it came.
    with contextlib.suppress(email.errors.HeaderParseError, LookupError, ValueError):
        raw = str(email.header.make_header(email.header.decode_header(raw)))
    return " ".join(raw.split())


async def _hang_up(server: SMTP) -> None:
    """Close the connection, then wait for aiosmtpd to cancel this session as it does when a client goes away."""
    if server.transport is not None:
        server.transport.close()
    await asyncio.get_running_loop().create_future()
