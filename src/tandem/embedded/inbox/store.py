"""Where the inbox keeps its messages: one SQLite file."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Message", "Store", "Totals"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    message_id TEXT PRIMARY KEY,
    sender TEXT NOT NULL,
    recipients TEXT NOT NULL,
    subject TEXT NOT NULL,
    size INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    first_accepted_at REAL NOT NULL,
    last_accepted_at REAL NOT NULL,
    content BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_by_time ON messages (last_accepted_at, accepted);
CREATE TABLE IF NOT EXISTS refusals (
    message_id TEXT NOT NULL,
    recipient TEXT NOT NULL,
    times INTEGER NOT NULL,
    PRIMARY KEY (message_id, recipient)
);
"""

ACCEPT = """
INSERT INTO messages VALUES (:message_id, :sender, :recipients, :subject, :size, 1, :now, :now, :content)
ON CONFLICT (message_id) DO UPDATE SET accepted = accepted + 1, last_accepted_at = :now
RETURNING accepted
"""

REFUSE = """
INSERT INTO refusals VALUES (:message_id, :recipient, 1)
ON CONFLICT (message_id, recipient) DO UPDATE SET times = times + 1 WHERE times < :times
RETURNING times
"""

LATEST = """
SELECT message_id, sender, recipients, subject, size, accepted, first_accepted_at, last_accepted_at
FROM messages WHERE :message_id IS NULL OR message_id = :message_id
ORDER BY last_accepted_at DESC, rowid DESC LIMIT :limit
"""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One distinct message and how often it was accepted; times are ISO 8601 in UTC, size is in bytes."""

    message_id: str
    sender: str
    recipients: list[str]
    subject: str
    size: int
    accepted: int
    first_accepted_at: str
    last_accepted_at: str


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Deliveries accepted, and messages left once duplicates of a Message-ID are dropped."""

    accepted: int
    distinct: int


class Store:
    """Messages in one SQLite file, usable from any thread. A write is on disk when its method returns.

    Raises ``sqlite3.Error`` when the file cannot be written; nothing of that call is kept then.
    """

    def __init__(self, *, path: Path) -> None:
        self._path = path
        with self._transaction() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def accept(self, *, message_id: str, sender: str, recipients: list[str], subject: str, content: bytes) -> int:
        """Store one delivery; return how many of this Message-ID there are now. The first one's content is kept."""
        values = {
            "message_id": message_id,
            "sender": sender,
            "recipients": json.dumps(recipients),
            "subject": subject,
            "size": len(content),
            "now": time.time(),
            "content": content,
        }
        with self._transaction() as connection:
            return int(connection.execute(ACCEPT, values).fetchone()["accepted"])

    def refuse(self, *, message_id: str, recipient: str, times: int) -> int | None:
        """Count one refusal and return its number, or return None and count nothing when ``times`` are used up."""
        if times < 1:
            return None
        values = {"message_id": message_id, "recipient": recipient, "times": times}
        with self._transaction() as connection:
            row = connection.execute(REFUSE, values).fetchone()
            return int(row["times"]) if row else None

    def totals(self) -> Totals:
        """Count what was accepted since the file was made."""
        with self._transaction() as connection:
            row = connection.execute("SELECT coalesce(sum(accepted), 0), count(*) FROM messages").fetchone()
            return Totals(accepted=row[0], distinct=row[1])

    def latest(self, *, limit: int, message_id: str | None = None) -> list[Message]:
        """Return distinct messages, last accepted first; only the one with ``message_id`` when it is given."""
        with self._transaction() as connection:
            rows = connection.execute(LATEST, {"limit": limit, "message_id": message_id}).fetchall()
        return [
            Message(
                message_id=row["message_id"],
                sender=row["sender"],
                recipients=json.loads(row["recipients"]),
                subject=row["subject"],
                size=row["size"],
                accepted=row["accepted"],
                first_accepted_at=_iso(row["first_accepted_at"]),
                last_accepted_at=_iso(row["last_accepted_at"]),
            )
            for row in rows
        ]


def _iso(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")
