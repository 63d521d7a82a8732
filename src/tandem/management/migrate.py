"""`manage.py tandem migrate`."""

import argparse

import psycopg
from django.core.management import call_command
from django.core.management.base import CommandError

from tandem.ledger import connection as ledger

__all__ = ["add_arguments", "handle"]

# Any number, as long as it is always the same: whoever migrates this database holds it.
LOCK = 7_265_833_401


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take nothing."""


def handle(_: dict[str, object]) -> None:
    """Migrate all apps, one at a time over all machines: two releases that roll out at once do not collide."""
    try:
        with ledger.connect() as connection, connection.transaction():
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            # In a transaction: a pooler would hand a session's lock to whoever comes next.
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            call_command("migrate", interactive=False)
    except psycopg.OperationalError as error:
        raise CommandError(f"The ledger's database does not answer: {error}") from error
