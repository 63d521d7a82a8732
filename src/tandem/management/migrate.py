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
        connection = ledger.own_connection()
        connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        try:
            call_command("migrate", interactive=False)
        finally:
            ledger.close()
    except psycopg.OperationalError as error:
        raise CommandError(f"The ledger's database does not answer: {error}") from error
