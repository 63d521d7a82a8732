"""`manage.py tandem require`: waits for what a process cannot start without, for containers' init checks."""

import argparse
import time
from typing import Any, Final

import psycopg
from django.core.management.base import CommandError
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from tandem.ledger import connection as ledger

__all__ = ["add_arguments", "handle"]

_AGAIN_SECONDS: Final = 0.5
_SHOWN: Final = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take what must be there, and how long to wait for it."""
    parser.add_argument("what", choices=["database", "migrations"], help="the database answers; nothing is unapplied")
    parser.add_argument("--within", type=float, default=0.0, metavar="SECONDS", help="wait for so long (default: 0)")
    parser.add_argument("--hint", default="", metavar="TEXT", help="what to do where it is missing, for the error")


def handle(options: dict[str, Any]) -> None:
    """Return once it is there; else exit 1 with what is missing and what to do."""
    missing = _database if options["what"] == "database" else _migrations
    deadline = time.monotonic() + options["within"]
    said = ""
    while (reason := missing()) is not None:
        if time.monotonic() >= deadline:
            raise CommandError(f"{reason} {options['hint']}".strip())
        if reason != said:
            print(f"Waiting: {reason}", flush=True)
            said = reason
        time.sleep(_AGAIN_SECONDS)


def _database() -> str | None:
    parameters = connections[ledger.LEDGER_DATABASE].get_connection_params()
    where = f"{parameters.get('host') or 'the local socket'}:{parameters.get('port') or 5432}"
    try:
        ledger.connect(connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return (
            f"The database {parameters.get('dbname')!r} at {where} does not answer as user"
            f" {parameters.get('user')!r}: {str(error).strip()}."
        )
    return None


def _migrations() -> str | None:
    connection = connections[ledger.LEDGER_DATABASE]
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except (DatabaseError, psycopg.Error) as error:
        connection.close()
        return f"The database cannot say which migrations were applied: {str(error).strip()}."
    if not plan:
        return None
    names = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} migration(s) are not applied: {', '.join(names[:_SHOWN])}{more}."
