"""A database for tests that need a ledger of their own, and the statements with which they let time pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from django.core.management import call_command
from django.db import connection, connections

from tandem.embedded.stack import Stack
from tandem.ledger import connection as ledger
from tandem.ledger.statement import Statement
from tests.servers import using

__all__ = ["EMPTIED", "LATER", "LEASES_RUN_OUT", "ledger_database"]

_NAME: Final = "tandem_properties"

_EMPTY: Final = """
WITH steps AS (DELETE FROM tandem_step), signals AS (DELETE FROM tandem_signal),
     progress AS (DELETE FROM tandem_progress), outbox AS (DELETE FROM tandem_pending_cancellation)
DELETE FROM tandem_execution RETURNING 1
"""

_LEASES_RUN_OUT: Final = """
UPDATE tandem_execution SET lease_expires_at = now() - interval '1 second'
WHERE lease_expires_at IS NOT NULL RETURNING 1
"""

_LATER: Final = """
WITH steps AS (UPDATE tandem_step SET finished_at = finished_at - interval '1 hour' WHERE kind IN ('sleep', 'waiting'))
UPDATE tandem_execution
SET due_at = due_at - interval '1 hour', sent_at = sent_at - interval '1 hour',
    lease_expires_at = lease_expires_at - interval '1 hour'
WHERE outcome IS NULL RETURNING 1
"""

EMPTIED: Final = Statement("emptied", _EMPTY, {}, len)
LEASES_RUN_OUT: Final = Statement("leases_run_out", _LEASES_RUN_OUT, {}, len)
LATER: Final = Statement("later", _LATER, {}, len)


@contextmanager
def ledger_database(servers: Stack) -> Iterator[None]:
    """A migrated database that no worker or relay of other tests knows."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {_NAME} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {_NAME}")
        cursor.execute(f"ALTER DATABASE {_NAME} SET synchronous_commit = off")
    ledger.close()
    url = urlsplit(servers.addresses["DATABASE_URL"])._replace(path=f"/{_NAME}").geturl()
    with using({"DATABASE_URL": url}):
        call_command("migrate", "tandem", verbosity=0)
        yield
        ledger.close()
        connections.close_all()
