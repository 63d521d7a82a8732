"""`manage.py tandem cancel ID [ID ...]`."""

import argparse
import getpass
from typing import Any

from django.core.management.base import CommandError
from django.tasks.exceptions import TaskResultDoesNotExist

from tandem.management.arguments import backend_of

__all__ = ["add_arguments", "handle"]

_SAID = {
    "cancelled": "cancelled",
    "requested": "is running; its body is told at its next context call",
    "finished": "was over already",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take ids."""
    parser.add_argument("ids", nargs="+", metavar="ID", help="the execution's id")


def handle(options: dict[str, Any]) -> None:
    """Cancel executions, and say of each what happened."""
    backend = backend_of()
    for id_ in options["ids"]:
        try:
            print(f"{id_} {_SAID[backend.cancel(id_, by=getpass.getuser())]}")
        except TaskResultDoesNotExist:
            raise CommandError(f"No execution {id_!r} in the ledger.") from None
