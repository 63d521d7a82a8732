"""`manage.py tandem COMMAND`: one entry point, a module for each command."""

from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError

from tandem.exceptions import TandemError

__all__ = ["Command"]

COMMANDS: Final = {
    "up": "start the whole stack on this machine: servers, web, worker, service, relay",
    "web": "run the project's web server",
    "worker": "run a Celery worker",
    "service": "run the Restate services",
    "relay": "run a relay",
    "exporter": "answer how much work there is, for an autoscaler",
    "migrate": "migrate the database, one at a time over all machines",
    "require": "wait until the database answers, or is migrated, or look whether the routes and settings can work",
    "routes": "list, set, unset, kill and explain routing rules",
    "show": "show one execution",
    "list": "list executions",
    "cancel": "cancel executions",
    "signal": "send a signal to an execution that waits for one",
    "retry": "run ended or parked executions again",
    "prune": "delete old executions",
    "smoke": "run a task on each engine, and look at the routes",
    "check": "say what is misconfigured or unreachable",
}

_MODULES: Final = {"list": "listing"}
_EXTRAS: Final = {"worker": "celery", "service": "restate", "up": "embedded", "web": "web"}


class _Lazy(ArgumentParser):
    """The parser of one command; imports its module when it is used, since some bring a whole engine with them."""

    command: str | None = None

    def _fill(self) -> None:
        if self.command is None:
            return
        name, self.command = self.command, None
        try:
            _module(name).add_arguments(self)
        except ImportError as error:
            raise CommandError(
                f"`tandem {name}` needs a package that is not installed ({error}):"
                f" pip install 'django-tandem[{_EXTRAS.get(name, 'celery,restate')}]'."
            ) from error

    def parse_known_args(  # type: ignore[override]  # argparse's overloads say no more than this
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        self._fill()
        return super().parse_known_args(args, namespace)

    def format_help(self) -> str:
        self._fill()
        return super().format_help()


def _djangos() -> _Lazy:
    """Django's own options, which may stand before or after the command; those not given leave the former as it was."""
    parser = _Lazy(add_help=False, argument_default=SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, choices=range(4), help=SUPPRESS)
    for name in ("--settings", "--pythonpath"):
        parser.add_argument(name, help=SUPPRESS)
    for name in ("--traceback", "--no-color", "--force-color", "--skip-checks"):
        parser.add_argument(name, action="store_true", help=SUPPRESS)
    return parser


class Command(BaseCommand):
    """Dispatches to `tandem.management.<command>`: `add_arguments(parser)` and `handle(options)`."""

    help = "Tandem: " + "; ".join(f"{name}: {text}" for name, text in COMMANDS.items()) + "."
    # `up` starts the database itself, and `check` reports in its own words.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Give each command a parser of its own."""
        subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Lazy)
        for name, text in COMMANDS.items():
            subparsers.add_parser(name, help=text, description=text, parents=[_djangos()]).command = name

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command; what a person can act on comes out as a message, not a traceback."""
        try:
            _module(options["command"]).handle(options)
        except TandemError as error:
            raise CommandError(str(error)) from error
        except (InterfaceError, OperationalError) as error:
            raise CommandError(
                f"PostgreSQL cannot be used: {error}. Start it, or correct DATABASES['default']."
            ) from error


def _module(name: str) -> Any:
    return import_module(f"tandem.management.{_MODULES.get(name, name)}")
