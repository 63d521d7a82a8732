"""What is misconfigured or unreachable, in plain words, each with the way out.

`check_backend` is Django's system check: it touches no server but the ledger's schema. `live_problems` is
`manage.py tandem check`: it asks every server.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

import psycopg
from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's name
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from tandem import registry
from tandem.configuration import Configuration, configurations, scaled_to_zero, several
from tandem.engines.base import Engine
from tandem.engines.memory import MemoryEngine
from tandem.exceptions import LedgerNotMigrated, TandemError, UnknownTask
from tandem.ledger import connection as ledger
from tandem.ledger.operating import load, retries
from tandem.ledger.statement import Statement
from tandem.routes import Router
from tandem.routing import problems

__all__ = ["check_backend", "live_problems", "refusals"]

UNUSABLE: Final = "tandem.E002"
NOT_POSTGRESQL: Final = "tandem.W002"

_LOOKED_AT: Final = 10_000

SILENT_WORKERS: Final = """
SELECT kind, engine, count(*) FILTER (WHERE seen_at > now() - %(lease)s * interval '1 second')
FROM tandem_worker GROUP BY kind, engine
"""


class _Checked(Protocol):
    """What of a backend is checked."""

    alias: str

    @property
    def configuration(self) -> Configuration: ...
    @property
    def engines(self) -> Mapping[str, Engine]: ...
    @property
    def router(self) -> Router: ...


def check_backend(backend: _Checked) -> list[CheckMessage]:
    """Check the configuration: apps, database, engines' options, routes, and the services' names."""
    found: list[CheckMessage] = []
    if not apps.is_installed("tandem"):
        found.append(Error("'tandem' is not installed.", hint="Add 'tandem' to INSTALLED_APPS.", id="tandem.E001"))
    with_ledger = [item.alias for item in configurations().values() if not item.in_memory]
    if backend.alias in with_ledger[1:]:
        found.append(Error(several(with_ledger), id="tandem.E006"))
    try:
        engines = backend.engines
        rules = backend.router.rules_written()
    except TandemError as error:
        return [*found, Error(str(error), id=UNUSABLE)]
    runs = any(not isinstance(engine, MemoryEngine) for engine in engines.values())
    if runs and not ledger.is_postgresql():
        # No error: `migrate` works there, and would not start.
        vendor = connections[ledger.LEDGER_DATABASE].vendor
        found.append(
            Warning(
                f"Tandem's ledger needs PostgreSQL, but DATABASES['default'] is {vendor}: enqueue() and every process of"
                f" Tandem's fail with the engines {', '.join(engines)}.",
                hint="Name a PostgreSQL there; SQLite serves unit tests with the stub or immediate engine only.",
                id=NOT_POSTGRESQL,
            )
        )
    names = list(registry.registered_tasks())
    found += [Warning(text, id="tandem.W001") for text in problems(rules, names, list(engines))]
    found += [Error(text, id="tandem.E003") for engine in engines.values() for text in engine.problems()]
    return found


def live_problems(backend: _Checked) -> Iterator[str]:
    """Ask every server, and say what is wrong: ledger, migrations, engines, rules, and who is there to work."""
    found = check_backend(backend)
    yield from map(_in_words, found)
    # Without engines or rules there is nothing to ask.
    if any(message.id == UNUSABLE for message in found) or not ledger.is_postgresql():
        return
    if all(isinstance(engine, MemoryEngine) for engine in backend.engines.values()):
        return
    try:
        unapplied = _unapplied()
        if unapplied:
            yield f"The ledger is not migrated ({', '.join(unapplied)}). Run `manage.py migrate`."
            return
        yield from _nobody(backend)
        yield from _unknown_tasks()
        yield from _held()
        yield from problems(
            backend.router.rules(fresh=True).written, list(registry.registered_tasks()), list(backend.engines)
        )
    except LedgerNotMigrated as error:
        yield str(error)
    except (DatabaseError, psycopg.Error) as error:
        database = connections[ledger.LEDGER_DATABASE].settings_dict
        where = f"{database.get('HOST') or 'local socket'}:{database.get('PORT') or 5432}/{database.get('NAME')}"
        yield f"PostgreSQL at {where} cannot be used: {str(error).strip()}. Start it, or correct DATABASES['default']."
    for engine in backend.engines.values():
        yield from engine.check()


def refusals(backend: _Checked) -> list[str]:
    """Say what keeps a process from working, before it starts: every error of `check_backend`, and SQLite."""
    return [
        _in_words(message) for message in check_backend(backend) if message.is_serious() or message.id == NOT_POSTGRESQL
    ]


def _in_words(message: CheckMessage) -> str:
    return f"{message.msg} {message.hint or ''}".strip()


def _unapplied() -> list[str]:
    executor = MigrationExecutor(connections[ledger.LEDGER_DATABASE])
    targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "tandem"]
    return [f"{migration.app_label}.{migration.name}" for migration, _ in executor.migration_plan(targets)]


def _unknown_tasks() -> Iterator[str]:
    """Name the tasks of unfinished rows that this process, or one that met them, cannot import."""
    for found in ledger.execute_in_transaction(retries.unfinished_tasks(limit=_LOOKED_AT)):
        try:
            registry.resolve(found.task)
        except UnknownTask as error:
            yield f"{found.count} unfinished execution(s) on {found.engine} wait for their code. {error}"
        else:
            if found.why is not None:
                yield (
                    f"{found.count} unfinished execution(s) of {found.task} on {found.engine} did not run: {found.why}"
                    " Start processes that have its code; they run by themselves then."
                )


def _held() -> Iterator[str]:
    """Say what was pinned to an engine whose kill switch was set: nothing sends it by itself, not even once it is off."""
    for engine, count in ledger.execute_in_transaction(retries.held(limit=_LOOKED_AT)):
        yield (
            f"{count} execution(s) are held by the kill switch on {engine}. Take it off by"
            f" `manage.py tandem routes kill {engine} --off`, then send them by"
            " `manage.py tandem retry --phase held --yes`; `--on ENGINE` there moves them."
        )


def _nobody(backend: _Checked) -> Iterator[str]:
    lease = backend.configuration.lease_seconds

    def read(rows: Any) -> dict[tuple[str, str], int]:
        return {(kind, engine): count for kind, engine, count in rows}

    alive = ledger.execute_in_transaction(Statement("silent_workers", SILENT_WORKERS, {"lease": lease}, read))
    if not alive.get(("relay", "")):
        yield (
            "No relay is running: deferred, retried and lost executions are not sent. Start one with"
            " `manage.py tandem relay`."
        )
    for name, engine in backend.engines.items():
        if engine.process is None:
            continue
        kind, command = engine.process
        if alive.get((kind, name)):
            continue
        if name not in scaled_to_zero():
            yield f"No {name} {kind} is running: what is routed to {name} waits. Start one with `{command}`."
        elif waiting := ledger.execute_in_transaction(load.waiting(engine=name)):
            yield (
                f"No {name} {kind} is running, though {waiting} execution(s) have waited for one for over"
                f" {load.STARTS_SECONDS:.0f} s: the autoscaler starts none. Look at it, and at the exporter that it asks."
            )
