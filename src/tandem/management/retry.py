"""`manage.py tandem retry ID [ID ...]`, or by filter with a dry run that counts."""

import argparse
from typing import Any

from django.core.management.base import CommandError
from django.tasks.exceptions import TaskResultDoesNotExist

from tandem.management.arguments import add_filters, backend_of, filtered

__all__ = ["add_arguments", "handle"]

_RETRIED = ("failed", "dead", "cancelled", "parked", "held")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take ids or filters, and another engine."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="the execution's id; or choose by filters")
    add_filters(parser)
    parser.add_argument("--on", metavar="ENGINE", help="run on this engine instead of its own")
    parser.add_argument("--yes", action="store_true", help="with filters: do it; without, only count")


def handle(options: dict[str, Any]) -> None:
    """Run ended, parked or held executions again from their last finished step."""
    backend = backend_of()
    ids = options["ids"]
    if not ids:
        if not any(options.get(name) for name in ("task", "phase", "engine", "queue", "owner", "since")):
            raise CommandError("Name executions by id, or choose them by filters such as --phase dead --task a.b.c.")
        rows = filtered(options).filter(phase__in=_RETRIED)
        if not options["yes"]:
            print(f"{rows.count()} execution(s) would be retried. Add --yes to do it.")
            return
        ids = [str(id_) for id_ in rows.values_list("id", flat=True)]
    done = 0
    for id_ in ids:
        try:
            backend.retry(id_, engine=options["on"])
            done += 1
        except TaskResultDoesNotExist:
            raise CommandError(f"No execution {id_!r} in the ledger.") from None
        except ValueError as error:
            # Chosen by filter, it may have moved on since; named by id, the person must know.
            if options["ids"]:
                raise CommandError(str(error)) from error
    print(f"{done} execution(s) are queued again.")
