"""`manage.py tandem list`."""

import argparse
from typing import Any

from tandem.management.arguments import add_filters, filtered, print_table, when

__all__ = ["add_arguments", "handle"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take filters and a limit."""
    add_filters(parser)
    parser.add_argument("--limit", type=int, default=20, help="how many, newest first (default: 20)")


def handle(options: dict[str, Any]) -> None:
    """Print the newest executions that the filters choose."""
    rows = list(filtered(options)[: max(1, options["limit"])])
    if not rows:
        print("No execution matches.")
        return
    print_table(
        ("id", "task", "phase", "engine", "why", "queue", "attempts", "enqueued", "finished"),
        [
            (
                row.id,
                row.task,
                row.phase,
                row.engine,
                row.reason,
                row.queue,
                len(row.worker_ids),
                when(row.created_at),
                when(row.finished_at),
            )
            for row in rows
        ],
    )
