"""A ledger behind PgBouncer in transaction mode, as Django's documents have it set up."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tandem.embedded.stack import Stack
from tests.celery_work.stage import free_port
from tests.integration.waiting import all_finished, finished, until
from tests.servers import platform
from tests.work import isolation, tasks

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = 4

CONFIGURATION = """
[databases]
tandem = host=127.0.0.1 port={server} dbname=tandem user=tandem
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 500
"""

# What another client of the pooler gets.
LEFT = """
SELECT current_setting('enable_seqscan'), current_setting('jit'), (SELECT count(*) FROM pg_prepared_statements),
       (SELECT count(*) FROM pg_listening_channels()),
       (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
"""


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="module")
def pooler(servers: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running PgBouncer's URL."""
    port, folder = free_port(), tmp_path_factory.mktemp("pgbouncer")
    url = f"postgresql://tandem@127.0.0.1:{port}/tandem"
    path = folder / "pgbouncer.ini"
    path.write_text(CONFIGURATION.format(server=servers.ports.postgres, port=port, sessions=SESSIONS))
    # It will not run as root, and reads its file before it gives that up.
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["pgbouncer", *as_user, path], stdout=log, stderr=subprocess.STDOUT)
    try:
        until(lambda: process.poll() is not None or answers(url), "PgBouncer answers")
        assert process.poll() is None, (folder / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(
    scope="module",
    params=[{}, {"prepare_threshold": None}, {"pool": {"max_size": 5, "min_size": 1}}],
    ids=["defaults", "unprepared", "pool"],
)
def behind(
    request: pytest.FixtureRequest, pooler: str, servers: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A worker, a service and a relay behind the pooler, with these OPTIONS."""
    environment = {"DATABASE_URL": pooler, "TANDEM_TEST_DATABASE_OPTIONS": json.dumps(request.param)}
    command = [sys.executable, "-m", "django", "tandem", "migrate"]
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
    }
    subprocess.run(command, env={**os.environ, **settings, **environment}, cwd=ROOT, check=True, capture_output=True)
    with platform(servers, tmp_path_factory.mktemp("behind"), environment):
        yield pooler


@pytest.mark.usefixtures("database")
def test_everything_runs_behind_a_pooler_and_leaves_nothing_in_its_sessions(behind: str) -> None:
    started: list[Any] = []
    for engine in ("celery", "restate"):
        for task in (tasks.ask_database, tasks.ask_database_async, tasks.noop, tasks.noop_async):
            started += [task.using(engine=engine).enqueue() for _ in range(3)]
        for steps in (tasks.steps, tasks.steps_async, tasks.sleeper, tasks.sleeper_async):
            arguments = (0.3,) if steps in {tasks.sleeper, tasks.sleeper_async} else ()
            started.append(steps.using(engine=engine).enqueue(uuid.uuid4().hex, *arguments))
        started.append(tasks.family.using(engine=engine).enqueue(uuid.uuid4().hex, 2))
        started.append(tasks.charge.using(engine=engine).enqueue(3))
    all_finished(started)
    assert [result.phase for result in started] == ["succeeded"] * len(started), [result.errors for result in started]
    late = finished(isolation.too_long_in_database.using(engine="celery").enqueue(5.0))
    assert late.phase == "failed"
    found = []
    with ExitStack() as stack:
        # In a transaction each, they have all the pooler's sessions between them.
        others = [stack.enter_context(psycopg.connect(behind, prepare_threshold=None)) for _ in range(SESSIONS)]
        for other in others:
            found += other.execute(LEFT).fetchall()
    assert found == [("on", "on", 0, 0, 0)] * SESSIONS
