"""`manage.py tandem require`: waits for what a process cannot start without, for containers' init checks."""

import argparse
import math
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from django.core.management.base import CommandError
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.tasks import task_backends

from tandem.backend import TandemBackend
from tandem.engines.restate.share import Share
from tandem.ledger import connection as ledger
from tandem.management.arguments import backend_of, refuse_unsound
from tandem.management.schema import too_new
from tandem.management.share import add_share, share_of
from tandem.registry import registered_tasks

__all__ = ["add_arguments", "handle"]

_AGAIN_SECONDS: Final = 0.5
_SHOWN: Final = 5
# What may come by itself; the rest is as the settings and the code are.
_COMES_LATE: Final = frozenset({"database", "migrations"})
_LATE: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take what must be there, and how long to wait for it."""
    parser.add_argument(
        "what",
        nargs="+",
        choices=[*_MISSING, "services"],
        help="one or several, looked at in the order given, by one process. database: it answers; migrations: nothing is"
        " unapplied, nor newer than this code can use; routes: each task can be routed, and the engines and settings can"
        " work; addresses: the settings name the servers that the environment names; services: those of --take or"
        " --except are this code's",
    )
    add_share(parser)
    for name, metavar, text in (
        ("--within", "[WHAT=]SECONDS", "wait for so long, for each or for the one that is named (default: 0)"),
        ("--hint", "[WHAT=]TEXT", "what to do where it is missing, for the error"),
    ):
        parser.add_argument(name, action="append", default=[], metavar=metavar, help=f"{text}; may be repeated")


def handle(options: dict[str, Any]) -> None:
    """Return once all is there; else exit with what is missing and what to do.

    With 1 at once where waiting is of no use (only other settings, or other code, mend it), with 3 where it did not
    come in time.
    """
    patience, hints = _each(options["within"]), _each(options["hint"])
    wrong = [text for text in patience.values() if _seconds(text) is None]
    if wrong:
        raise CommandError(f"--within takes SECONDS or WHAT=SECONDS, 0 or more, not {wrong[0]!r}.", returncode=2)
    missing: dict[str, Callable[[], str | None]] = {**_MISSING, "services": partial(_services, share_of(options))}
    for what in options["what"]:
        seconds = _seconds(patience.get(what, patience.get("", "0"))) or 0.0
        _wait(missing[what], seconds=seconds, hint=hints.get(what, hints.get("", "")), late=what in _COMES_LATE)


def _each(given: list[str]) -> dict[str, str]:
    """Read WHAT=VALUE; what names nothing is for all, by the name ""."""
    split = (text.partition("=") for text in given)
    return dict(
        (what, value) if what in {*_MISSING, "services"} else ("", what + equals + value)
        for what, equals, value in split
    )


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None


def _wait(missing: Callable[[], str | None], *, seconds: float, hint: str, late: bool) -> None:
    deadline = time.monotonic() + seconds
    said = ""
    while (reason := missing()) is not None:
        if time.monotonic() >= deadline:
            raise CommandError(f"{reason} {hint}".strip(), returncode=_LATE if late else 1)
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
        if newer := too_new(connection, executor.loader):
            raise CommandError(newer)
        return None
    names = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} migration(s) are not applied: {', '.join(names[:_SHOWN])}{more}."


def _routes() -> str | None:
    """Look at all that a process or an enqueue refuses for the settings' sake: no server is asked."""
    backends = {backend_of(), *(backend for backend in task_backends.all() if isinstance(backend, TandemBackend))}
    refuse_unsound(*backends)
    return "\n".join(text for backend in backends for text in backend.router.unservable()) or None


def _addresses() -> str | None:
    """Compare the settings with the environment, as `up` makes it: its servers must be the ones that are used."""
    backend = backend_of()
    # Raises for an engine without its extra and for wrong routes, before anything is compared or started.
    backend.router.rules_written()
    configuration, alias = backend.configuration, backend.alias
    database = connections[ledger.LEDGER_DATABASE]
    where = f"{database.settings_dict['HOST']}:{database.settings_dict['PORT'] or 5432}"
    used = {
        "DATABASE_URL": ("DATABASES['default']", f"{database.vendor}://{where}", "database()"),
    }
    engines = f"TASKS[{alias!r}]['OPTIONS']['ENGINES']"
    if configuration.celery is not None:
        from tandem.engines.celery.app import broker_of  # noqa: PLC0415  # an extra of the distribution

        url = broker_of(configuration.celery, configuration.queues).public_url
        used["TANDEM_BROKER_URL"] = (f"{engines}['celery']['BROKER_URL']", url, "celery()")
    if configuration.restate is not None:
        spot, restate = f"{engines}['restate']", configuration.restate
        used["TANDEM_RESTATE_INGRESS_URL"] = (f"{spot}['INGRESS_URL']", restate.ingress_url, "restate()")
        used["TANDEM_RESTATE_ADMIN_URL"] = (f"{spot}['ADMIN_URL']", restate.admin_url, "restate()")
    wrong = [
        f"{setting} names {_server(url)}, but {variable} is at {_server(os.environ[variable])}: have it say"
        f" addresses.{call}, with `from tandem import addresses` in the settings."
        for variable, (setting, url, call) in used.items()
        if variable in os.environ and _server(url) != _server(os.environ[variable])
    ]
    return "\n".join(wrong) or None


def _services(share: Share) -> str | None:
    """Look for the services in this code, and for the release's prefix in the settings; no server is asked."""
    backend = backend_of()
    restate = backend.configuration.restate
    if restate is None:
        return f"TASKS[{backend.alias!r}]['OPTIONS']['ENGINES'] has no engine for services."
    found = list(share.problems(registered_tasks()))
    wanted = os.environ.get("TANDEM_RESTATE_PREFIX", restate.prefix)
    if wanted != restate.prefix:
        found.append(
            f"TASKS[{backend.alias!r}]['OPTIONS']['ENGINES']['restate']['PREFIX'] is {restate.prefix!r}, but"
            f" TANDEM_RESTATE_PREFIX is {wanted!r}: have the engine say addresses.restate(), with `from tandem import"
            " addresses` in the settings."
        )
    return " ".join(found) or None


def _server(url: str) -> str:
    """The scheme, host and port of a URL, the first of several, without what else it may tell."""
    parts = urlsplit(url.partition(";")[0])
    scheme = {"postgres": "postgresql"}.get(parts.scheme, parts.scheme)
    host = {"localhost": "127.0.0.1", "::1": "127.0.0.1"}.get(parts.hostname or "", parts.hostname)
    return f"{scheme}://{host}:{parts.port}" if host else scheme


_MISSING: Final[dict[str, Callable[[], str | None]]] = {
    "database": _database,
    "migrations": _migrations,
    "routes": _routes,
    "addresses": _addresses,
}
