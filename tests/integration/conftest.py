"""The servers of the integration tests, and the processes that run tasks on them."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from tandem.embedded.ports import Ports
from tandem.embedded.stack import Stack
from tests.celery_work.fixtures import celery, set_stage
from tests.integration.holding import install
from tests.integration.site import Site
from tests.servers import addresses, database, django_db_setup, platform, servers

__all__ = ["addresses", "celery", "database", "django_db_setup", "servers", "set_stage"]

ROOT = Path(__file__).resolve().parents[2]

# What is locked is somebody's end on its way.
NOTHING_UNFINISHED = """
UPDATE tandem_execution
SET phase = 'cancelled', outcome = 'cancelled', finished_at = now(), due_at = NULL, lease_expires_at = NULL
WHERE id IN (SELECT id FROM tandem_execution WHERE outcome IS NULL ORDER BY id FOR UPDATE SKIP LOCKED)
"""


@pytest.fixture(scope="module", autouse=True)
def nothing_unfinished(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Let no test find what another file's tests left: a body that waits for its test, or code that is nowhere."""
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute(NOTHING_UNFINISHED)
        connection.close()


@pytest.fixture(scope="session")
def effects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The log of side effects, for this process and its children."""
    path = tmp_path_factory.mktemp("effects") / "effects"
    with patch.dict(os.environ, {"TANDEM_TEST_EFFECTS": str(path)}):
        yield path


@pytest.fixture(scope="session")
def running(
    servers: Stack, django_db_setup: None, effects: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A Celery worker with two children, a Restate service with four slots, and a relay: real processes."""
    with platform(servers, tmp_path_factory.mktemp("running"), {"TANDEM_TEST_EFFECTS": str(effects)}) as stack:
        yield stack


@pytest.fixture
def workers(running: Stack, database: None) -> Stack:
    """Let a test enqueue and wait for results."""
    return running


@pytest.fixture(params=["celery", "restate"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    name: str = request.param
    return name


@pytest.fixture
def mark() -> str:
    """A name of its own for each test in the log of side effects."""
    return uuid.uuid4().hex


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The showcase on a stack of its own, as `manage.py tandem up` starts it."""
    stack = Stack(
        data=tmp_path_factory.mktemp("showcase"),
        ports=Ports.free(),
        directory=ROOT,
        wsgi="showcase.wsgi:application",
        environment={
            "DJANGO_SETTINGS_MODULE": "showcase.settings",
            "PYTHONPATH": os.fspath(ROOT / "src"),
            "UPLOAD_MOST_BYTES": "20000000",
        },
    )
    with stack:
        site = Site(stack).visitor()
        install(site)
        yield site
