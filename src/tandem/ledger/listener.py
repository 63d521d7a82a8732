"""What relays listen to: PostgreSQL's notifications, so that what is due at once is not found by polling alone."""

import logging
from typing import Any, Final

import psycopg

from tandem.ledger.connection import connect, is_direct
from tandem.ledger.suspension.wakes import CHANNEL

__all__ = ["Listener"]

# A timeout of 0 would have psycopg wait without end.
_SHORTEST: Final = 0.001

logger = logging.getLogger("tandem.relay")


class Listener:
    """Listens on a connection of its own; one thread uses it.

    Behind a pooler it never rings: that would hand the session, and its notifications, to others. Polling is left.
    """

    def __init__(self) -> None:
        self._connection: psycopg.Connection[Any] | None = None
        self._listens = False

    def wait(self, seconds: float) -> bool:
        """Wait until it rings, for at most `seconds`; False, at once, where no database answers, or a pooler does."""
        try:
            connection = self._connection
            if connection is None or connection.closed:
                connection = self._connection = connect()
                self._listens = is_direct(connection)
                if self._listens:
                    connection.execute(f"LISTEN {CHANNEL}".encode())
            if not self._listens:
                return False
            # What else rang meanwhile is answered by the same round.
            for _ in connection.notifies(timeout=max(seconds, _SHORTEST), stop_after=1):
                pass
        except psycopg.Error as error:
            logger.debug("Listening failed (%s).", error)
            self.close()
            return False
        return True

    def close(self) -> None:
        """Stop listening; the next wait listens again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
