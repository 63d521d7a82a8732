"""Django's own tests of task backends, on each engine: each case passes, or the documents say why it does not."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql

from tandem.embedded.ports import Ports
from tandem.embedded.stack import Stack
from tests.django_tasks.listed import LISTED
from tests.django_tasks.source import laid_out

ROOT: Final = Path(__file__).resolve().parents[2]
DATABASE: Final = "django_tasks"
DECIDING: Final = ("tasks.test_tasks", "tasks.test_dummy_backend", "tasks.test_custom_backend")
RUNNING: Final = ("tasks.test_immediate_backend",)
CASES: Final = 85


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Django's tests, laid out; answers the environment in which they run."""
    folder = tmp_path_factory.mktemp("django")
    laid_out(folder)
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.django_tasks.settings",
        "PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT / "src", ROOT))),
    }


@pytest.fixture(scope="session")
def ledger(suite: Mapping[str, str], addresses: Mapping[str, str]) -> Mapping[str, str]:
    """A ledger of their own; answers the environment in which they find it, and the servers."""
    server = addresses["DATABASE_URL"].rpartition("/")[0]
    with psycopg.connect(addresses["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    environment = {
        **suite,
        **addresses,
        "TANDEM_DJANGO_TASKS": "celery",
        "DATABASE_URL": f"{server}/{DATABASE}",
        # A port of its own: the other tests' service answers at the one that the servers name.
        "TANDEM_RESTATE_SERVICE_URL": f"http://127.0.0.1:{Ports.free().service}",
        # Some of Django's async cases ask a backend for results: its own have them in memory.
        "DJANGO_ALLOW_ASYNC_UNSAFE": "1",
    }
    subprocess.run([sys.executable, "-m", "django", "migrate", "--verbosity", "0"], env=environment, check=True)
    return environment


def run(environment: Mapping[str, str], *labels: str) -> dict[str, str]:
    """Run cases, and answer what went wrong in each: nothing, where it passed."""
    command = [sys.executable, "-W", "error", "-m", "tests.django_tasks", *labels]
    output = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(json.loads(line) for line in output.splitlines())


def hold(name: str, ends: Mapping[str, str]) -> None:
    """Hold the ends of all cases against what is listed for a run."""
    expected = {case: reason for case, (reason, runs) in LISTED.items() if name in runs}
    failed = {case: end for case, end in ends.items() if end}
    assert len(ends) == CASES
    surprises = {case: end for case, end in failed.items() if case not in expected}
    assert not surprises, "\n".join(f"{case}: {end}" for case, end in surprises.items())
    assert expected.keys() - failed.keys() == set(), "is listed, and passes"


@pytest.mark.parametrize("declared", ["tandem.TandemBackend", "django.tasks.backends.dummy.DummyBackend"])
def test_djangos_tests_on_the_memory_engines(suite: Mapping[str, str], declared: str) -> None:
    environment = {**suite, "TANDEM_DJANGO_TASKS": "stub", "TANDEM_DJANGO_TASKS_DECLARED": declared}
    hold("memory", run(environment, *DECIDING, *RUNNING))


@pytest.mark.parametrize(("engine", "process"), [("celery", "worker"), ("restate", "service")])
def test_djangos_tests_on_an_engine(ledger: Mapping[str, str], tmp_path: Path, engine: str, process: str) -> None:
    environment = {**ledger, "TANDEM_DJANGO_TASKS": engine}
    # What is enqueued stays as it is, for Django's tests of its dummy backend: nobody runs it.
    ends = run(environment, *DECIDING)
    stack = Stack(data=tmp_path, ports=Ports.free(), only=(process, "relay"), directory=ROOT, environment=environment)
    with stack:
        ends |= run({**environment, "TANDEM_DJANGO_TASKS_WORKERS": "1"}, *RUNNING)
    hold(engine, ends)


def test_the_documents_say_why_a_case_fails() -> None:
    documents = " ".join((ROOT / "docs" / "tasks.md").read_text().split())
    assert [reason for reason, _ in LISTED.values() if reason not in documents] == []
