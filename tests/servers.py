"""Real PostgreSQL, Redis and Restate, started once per run on free ports; nothing of them stays.

Fixtures for the integration tests, imported by their `conftest.py`. Django's settings are read before any fixture
runs, so `using` loads `tests.settings` again with the servers' addresses in the environment and puts in what changed.
"""

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from pytest_django.plugin import DjangoDbBlocker

from tandem.embedded.ports import Ports
from tandem.embedded.stack import Stack

__all__ = ["addresses", "database", "django_db_setup", "platform", "servers", "using"]

SERVERS = ("postgres", "redis", "restate")
RUNNING = ("worker", "service", "relay")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The running servers; `servers.addresses` has what they are reached by, also in the environment of children."""
    with (
        Stack(data=tmp_path_factory.mktemp("servers"), ports=Ports.free(), only=SERVERS) as stack,
        using(stack.addresses),
    ):
        yield stack


@contextmanager
def platform(servers: Stack, folder: Path, environment: Mapping[str, str]) -> Iterator[Stack]:
    """Run a Celery worker with two children, a Restate service with four slots, and a relay: real processes."""
    given = {
        **servers.addresses,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        # The folder, too: a test puts code there that these processes began without.
        "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT), str(folder))),
        "TANDEM_TEST_EFFECTS": str(folder / "effects"),
        **environment,
    }
    stack = Stack(data=folder, ports=servers.ports, only=RUNNING, directory=ROOT, environment=given)
    with stack:
        yield stack


@pytest.fixture(scope="session")
def addresses(servers: Stack) -> Mapping[str, str]:
    """`DATABASE_URL`, `TANDEM_BROKER_URL`, `TANDEM_RESTATE_*`."""
    return servers.addresses


@pytest.fixture(scope="session")
def django_db_setup(servers: Stack, django_db_blocker: DjangoDbBlocker) -> None:
    """Migrate the servers' own database instead of making one for tests: worker processes find the same rows."""
    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0)
        connections.close_all()


@pytest.fixture
def database(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let a test use the migrated database. Rows stay, for worker processes see them too: tests use names of their own."""
    with django_db_blocker.unblock():
        yield
        connections.close_all()


@contextmanager
def using(values: Mapping[str, str]) -> Iterator[None]:
    """Point the environment and Django at the servers, and back."""
    before: dict[str, Any] = settings.DATABASES
    with patch.dict(os.environ, values):
        module = importlib.reload(importlib.import_module("tests.settings"))
        # A change of DATABASES is nothing that Django's override does.
        changed = {
            name: value
            for name, value in vars(module).items()
            if name.isupper() and name != "DATABASES" and value != getattr(settings, name)
        }
        with override_settings(**changed):
            _connect(module.DATABASES)
            yield
            _connect(before)
    importlib.reload(module)


def _connect(databases: dict[str, Any]) -> None:
    connections.close_all()
    # They are made anew, with the engine that is now named, when they are next asked for.
    for connection in connections.all(initialized_only=True):
        del connections[connection.alias]
    settings.DATABASES = databases
    connections.settings = connections.configure_settings(databases)
