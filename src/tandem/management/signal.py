"""`manage.py tandem signal ID NAME [PAYLOAD]`."""

import argparse
import getpass
import json
from typing import Any

from django.core.management.base import CommandError
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist

from tandem.management.arguments import backend_of

__all__ = ["add_arguments", "handle"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take an id, a name and a payload."""
    parser.add_argument("id", help="the execution's id")
    parser.add_argument("name", help="what its body waits for: context.wait(NAME)")
    parser.add_argument("payload", nargs="?", default="null", help="what wait() answers, as JSON (default: null)")


def handle(options: dict[str, Any]) -> None:
    """Send a signal; the execution keeps it until its body asks for it."""
    try:
        payload = json.loads(options["payload"])
    except ValueError as error:
        raise CommandError(
            f"The payload {options['payload']!r} is not JSON ({error}). A text needs its quotes: '\"text\"'."
        ) from None
    try:
        backend_of().signal(options["id"], options["name"], payload, by=getpass.getuser())
    except TaskResultDoesNotExist:
        raise CommandError(f"No execution {options['id']!r} in the ledger.") from None
    except (ValueError, InvalidTask) as error:
        raise CommandError(str(error)) from error
    print(f"Signal {options['name']!r} is sent to {options['id']}.")
