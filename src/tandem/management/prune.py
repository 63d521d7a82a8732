"""`manage.py tandem prune`."""

import argparse
from typing import Any, Final

from django.core.management.base import CommandError

from tandem.ledger import connection as ledger
from tandem.ledger.operating import pruning
from tandem.management.arguments import backend_of

__all__ = ["add_arguments", "handle"]

_MOST_DAYS: Final = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take an age and a batch."""
    parser.add_argument("--days", type=float, help="finished longer ago than this (default: RETENTION_DAYS)")
    parser.add_argument("--batch", type=int, default=1_000, help="rows for each short transaction (default: 1000)")


def handle(options: dict[str, Any]) -> None:
    """Delete executions that finished long ago, batch by batch, with their steps and progress."""
    configuration = backend_of().configuration
    days = configuration.retention_days if options["days"] is None else options["days"]
    if not 0 <= days <= _MOST_DAYS:
        raise CommandError(f"--days is {days!r}, but must be from 0 to {_MOST_DAYS:,} days.")
    total = 0
    while deleted := ledger.execute(pruning.prune(days=days, limit=max(1, options["batch"]))):
        total += deleted
    print(f"{total} execution(s) that finished more than {days:g} days ago were deleted.")
