"""`manage.py tandem COMMAND`: one entry point, a module for each command."""

from importlib import import_module
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tandem.exceptions import TandemError

__all__ = ["Command"]

COMMANDS: Final = {
    "up": "start the whole stack on this machine: servers, web, worker, service, relay",
    "worker": "run a Celery worker",
    "service": "run the Restate services",
    "relay": "run a relay",
    "routes": "list, set, unset, kill and explain routing rules",
    "show": "show one execution",
    "list": "list executions",
    "cancel": "cancel executions",
    "retry": "run ended or parked executions again",
    "prune": "delete old executions",
    "check": "say what is misconfigured or unreachable",
}

_MODULES: Final = {"list": "listing"}


class Command(BaseCommand):
    """Dispatches to `tandem.management.<command>`: `add_arguments(parser)` and `handle(options)`."""

    help = "Tandem: " + "; ".join(f"{name}: {text}" for name, text in COMMANDS.items()) + "."
    # `up` starts the database itself, and `check` reports in its own words.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Give each command a parser of its own."""
        subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for name, text in COMMANDS.items():
            subparser = subparsers.add_parser(name, help=text, description=text)
            try:
                _module(name).add_arguments(subparser)
            except ImportError as error:
                subparser.set_defaults(missing=str(error))

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command; what a person can act on comes out as a message, not a traceback."""
        if options.get("missing"):
            raise CommandError(
                f"`tandem {options['command']}` needs a package that is not here ({options['missing']}). Install"
                " django-tandem[celery], [restate] or [embedded]."
            )
        try:
            _module(options["command"]).handle(options)
        except TandemError as error:
            raise CommandError(str(error)) from error


def _module(name: str) -> Any:
    return import_module(f"tandem.management.{_MODULES.get(name, name)}")
