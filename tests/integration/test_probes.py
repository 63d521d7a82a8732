"""Each process as an orchestrator meets it: probes, the init checks, and what the autoscaler reads."""

import copy
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import settings
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.test import override_settings
from django.utils import timezone

from tandem.checks import live_problems
from tandem.embedded.ports import Ports
from tandem.embedded.stack import Stack
from tandem.ledger.connection import execute
from tandem.ledger.hot import inserts
from tandem.ledger.identity import new_id
from tandem.ledger.models import Execution
from tandem.ledger.operating.load import Load, load
from tandem.ledger.relaying.runtime import seen_alive
from tandem.ledger.rows import NewExecution
from tandem.ledger.statement import Statement
from tandem.management.arguments import backend_of
from tandem.management.schema import too_new
from tests.integration.ledger_database import LATER, ledger_database
from tests.integration.waiting import finished, until
from tests.work import tasks
from tests.work.effects import recorded

ROOT = Path(__file__).resolve().parents[2]

type Start = Callable[..., "Process"]


class Process:
    """`python -m django tandem COMMAND`, as a container runs it."""

    def __init__(self, environment: Mapping[str, str], log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("w") as file:
            self.running = subprocess.Popen(
                [sys.executable, "-m", "django", "tandem", *arguments],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def end(self) -> int:
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(timeout=60)

    def get(self, url: str) -> httpx.Response | None:
        assert self.running.poll() is None, self.log.read_text()
        try:
            return httpx.get(url, timeout=10)
        except httpx.TransportError:
            return None

    def status(self, url: str) -> int:
        answer = self.get(url)
        return 0 if answer is None else answer.status_code


@pytest.fixture
def start(addresses: Mapping[str, str], effects: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def start(*arguments: str, **environment: str) -> Process:
        base = {
            **addresses,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
            "TANDEM_TEST_EFFECTS": str(effects),
            "PYTHONUNBUFFERED": "1",
            # Celery warns of root, which no image runs as.
            "PYTHONWARNINGS": "ignore::UserWarning",
        }
        started.append(Process({**base, **environment}, tmp_path / f"log-{len(started)}", *arguments))
        return started[-1]

    yield start
    for process in started:
        process.running.kill()
        process.running.wait()


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{Ports.free().web}"


# How `require` ends where only time may help.
LATE = 3
COMMANDS = {
    "web": ["web", "--bind", "{address}"],
    "worker": ["worker", "--concurrency", "1", "--queues", "other", "--health", "{address}"],
    "service": ["service", "--bind", "127.0.0.1:{port}", "--health", "{address}"],
    "relay": ["relay", "--health", "{address}"],
    "exporter": ["exporter", "--bind", "{address}"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_process_answers_probes_and_ends_by_sigterm(name: str, start: Start, address: str, database: None) -> None:
    command = [part.format(address=address, port=Ports.free().service) for part in COMMANDS[name]]
    process = start(*command)
    until(
        lambda: process.status(f"http://{address}/-/ready") == 200,
        lambda: f"{name} is not ready: {process.log.read_text()}",
    )
    assert process.status(f"http://{address}/-/alive") == 200
    assert process.status(f"http://{address}/-/elsewhere") in {400, 404}
    assert process.end() == 0, process.log.read_text()
    # The settings have Django's own time zone, which is not UTC.
    lines = process.log.read_text().splitlines()
    assert lines
    for line in lines:
        written = re.match(r"(\S+Z) (?:INFO|WARNING|ERROR) [A-Za-z.]+: \S", line)
        assert written, line
        assert abs(datetime.now(UTC) - datetime.fromisoformat(written[1])) < timedelta(hours=1), line


def test_a_worker_that_drains_stays_ready(
    start: Start, address: str, addresses: Mapping[str, str], database: None, mark: str
) -> None:
    """Kubernetes makes a Warning event of each probe that fails, also of a pod that ends as it should."""
    broker = f"{addresses['TANDEM_BROKER_URL'].rpartition('/')[0]}/7"
    changed: dict[str, Any] = copy.deepcopy(settings.TASKS)
    changed["default"]["OPTIONS"]["ENGINES"]["celery"]["BROKER_URL"] = broker
    worker = start("worker", "--concurrency", "1", "--health", address, TANDEM_BROKER_URL=broker)
    # What nobody claims for a lease, the other tests' relay sends to their worker.
    until(lambda: worker.status(f"http://{address}/-/ready") == 200, lambda: f"not ready: {worker.log.read_text()}")
    with override_settings(TASKS=changed):
        tasks.slow_steps.using(engine="celery").enqueue(mark, 30, 0.1)
    until(lambda: recorded(mark), lambda: f"no body runs: {worker.log.read_text()}")
    worker.running.send_signal(signal.SIGTERM)
    said = set()
    while len(recorded(mark)) < 30:
        said.add(worker.status(f"http://{address}/-/ready"))
    assert said == {200}
    assert worker.end() == 0, worker.log.read_text()


def test_alive_needs_no_database_and_ready_does(start: Start, address: str, addresses: Mapping[str, str]) -> None:
    nowhere = f"postgresql://tandem@127.0.0.1:{Ports.free().postgres}/tandem"
    web = start("web", "--bind", address, DATABASE_URL=nowhere)
    until(lambda: web.status(f"http://{address}/-/alive") == 200, "web is not alive")
    answer = web.get(f"http://{address}/-/ready")
    assert answer is not None
    assert answer.status_code == 503
    assert "The database has not answered yet" in answer.text


def test_a_taken_address_is_an_error_that_names_it(start: Start, address: str, servers: Stack) -> None:
    taken = f"127.0.0.1:{servers.ports.postgres}"
    relay = start("relay", "--health", taken)
    assert relay.running.wait(timeout=60) == 1
    assert f"Cannot answer on '{taken}'" in relay.log.read_text()
    assert "--health" in relay.log.read_text()


def run(start: Start, *arguments: str, **environment: str) -> tuple[int, str]:
    process = start(*arguments, **environment)
    return process.running.wait(timeout=60), process.log.read_text()


@pytest.mark.parametrize("name", ["web", "worker"])
def test_a_level_is_heeded_and_one_that_there_is_not_is_refused(
    name: str, start: Start, address: str, database: None
) -> None:
    code, text = run(start, name, TANDEM_LOG_LEVEL="warn")
    assert code == 1
    assert "TANDEM_LOG_LEVEL is 'warn'" in text
    assert "debug, info, warning, error, critical" in text
    quiet = start(*[part.format(address=address) for part in COMMANDS[name]], TANDEM_LOG_LEVEL="warning")
    until(lambda: quiet.status(f"http://{address}/-/ready") == 200, f"{name} is not ready")
    assert quiet.end() == 0, quiet.log.read_text()
    assert not quiet.log.read_text()


def test_a_database_that_does_not_answer_is_named(start: Start, database: None, addresses: Mapping[str, str]) -> None:
    nowhere = f"postgresql://somebody@127.0.0.1:{Ports.free().postgres}/shop"
    code, text = run(start, "require", "database", "--hint", "Look at the Secret shop-db.", DATABASE_URL=nowhere)
    assert code == LATE
    assert "The database 'shop' at 127.0.0.1" in text
    assert "as user 'somebody'" in text
    assert "Look at the Secret shop-db." in text
    assert "Traceback" not in text
    assert run(start, "require", "database") == (0, "")


def test_several_are_looked_at_in_turn_and_each_says_its_own(
    start: Start, servers: Stack, database: None, addresses: Mapping[str, str]
) -> None:
    hints = ("--hint", "Ask somebody.", "--hint", "database=Look at key=url.", "--within", "0.5")
    everything = ("routes", "services", "database", "migrations")
    assert run(start, "require", *everything) == (0, "")
    nowhere = f"postgresql://somebody@127.0.0.1:{Ports.free().postgres}/shop"
    # What only other settings mend comes first, and is told apart from what may come yet.
    code, text = run(start, "require", *everything, *hints, DATABASE_URL=nowhere, TANDEM_ROUTES="default=celary")
    assert (code, "did you mean 'celery'?" in text, "does not answer" in text) == (1, True, False)
    code, text = run(start, "require", *everything, *hints, DATABASE_URL=nowhere)
    assert (code, "does not answer" in text, "Look at key=url." in text) == (LATE, True, True)
    code, text = run(start, "require", "services", "database", "--except", "Wrok", *hints, DATABASE_URL=nowhere)
    assert (code, "Wrok" in text, "Ask somebody." in text) == (1, True, True)


@pytest.mark.parametrize("seconds", ["-1", "soon", "database=", "databse=5", "nan", "inf"])
def test_how_long_to_wait_is_a_number(start: Start, database: None, seconds: str) -> None:
    code, text = run(start, "require", "database", "--within", seconds)
    assert code == 2
    assert "--within takes SECONDS or WHAT=SECONDS, 0 or more, not" in text


def test_migrations_are_waited_for(start: Start, servers: Stack, database: None) -> None:
    admin = servers.addresses["DATABASE_URL"]
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS required")
        connection.execute("CREATE DATABASE required")
    new = {"DATABASE_URL": admin.rpartition("/")[0] + "/required"}
    code, text = run(start, "require", "migrations", "--hint", "See the Job shop-migrate-1.", **new)
    assert code == LATE
    assert "are not applied: " in text
    assert "See the Job shop-migrate-1." in text
    waiting = start("require", "migrations", "--within", "60", **new)
    until(lambda: "Waiting: " in waiting.log.read_text(), "it does not wait")
    # Two releases that migrate at once: neither sees what the other has half done.
    both = [start("migrate", **new) for _ in range(2)]
    assert [process.running.wait(timeout=60) for process in both] == [0, 0], [each.log.read_text() for each in both]
    assert waiting.running.wait(timeout=60) == 0, waiting.log.read_text()
    # An older release finds nothing missing where a newer one has migrated further.
    with psycopg.connect(new["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('tandem', '9999', now())")
        assert run(start, "require", "migrations", **new) == (0, "")
        # It only added what may be left out; what must be given, or was taken away, this release cannot serve.
        connection.execute("ALTER TABLE tandem_event ADD COLUMN weight int NOT NULL, DROP COLUMN detail")
        code, text = run(start, "require", "migrations", "--within", "60", **new)
    assert code == 1
    assert "does not know the migration(s) tandem.9999: tandem_event has no column detail;" in text
    assert "tandem_event.weight, which this code does not write, must be given." in text


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"TANDEM_ROUTES": "default=celary"}, "engine 'celary' is not configured; did you mean 'celery'?"),
        ({"TANDEM_ROUTES": "tests.work.tasks.killable=restate"}, "which lacks hard_time_limit. celery can: name it"),
        ({"TANDEM_ROUTES": "tests.work.*=restate:25; kill=restate"}, ""),
        ({"DJANGO_SETTINGS_MODULE": "tests.setings"}, "No module named 'tests.setings'"),
    ],
)
def test_what_a_process_or_an_enqueue_would_refuse_is_refused_first(
    start: Start, database: None, environment: dict[str, str], words: str
) -> None:
    code, text = run(start, "require", "routes", **environment)
    assert (code, text) == (0, "") if not words else (code == 1 and words in text), text


class AccountsElsewhere:
    """A router of a project that keeps its accounts in another database."""

    def allow_migrate(self, _database: str, app_label: str, **_hints: object) -> bool | None:
        return False if app_label == "auth" else None


def test_a_newer_schema_of_another_database_is_no_obstacle(servers: Stack, database: None) -> None:
    """`migrate` records its migrations in the default one, too."""
    with ledger_database(servers):
        default = connections["default"]
        with default.cursor() as cursor:
            cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('auth', '9999', now())")
        refused = too_new(default, MigrationLoader(default))
        assert refused is not None
        assert "it has no table auth_user" in refused
        with override_settings(DATABASE_ROUTERS=[f"{__name__}.AccountsElsewhere"]):
            assert too_new(default, MigrationLoader(default)) is None


def a_row(*, queue: str, phase: str, engine: str = "celery", minutes: int | None = None) -> None:
    new = NewExecution(
        id=new_id(),
        task="tests.work.tasks.noop",
        queue=queue,
        priority=0,
        arguments='{"args": [], "kwargs": {}}',
        engine=engine,
        reason="default",
        pinned=False,
        phase=phase,
        # Restate has none.
        broker_epoch=None if engine == "restate" else "e",
    )
    execute(inserts.insert_one(new))
    due = "NULL" if minutes is None else f"now() + interval '{minutes} minutes'"
    execute(
        Statement(
            "phase",
            f"UPDATE tandem_execution SET phase = %(phase)s::text, due_at = {due} WHERE id = %(id)s RETURNING 1",
            {"phase": phase, "id": new.id},
            len,
        )
    )


def nobody_runs() -> list[str]:
    return [text for text in live_problems(backend_of()) if text.startswith(("No celery", "No restate"))]


def test_what_needs_a_worker_now_is_the_load_of_its_queue(
    servers: Stack, database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ledger_database(servers):
        for phase, minutes in (
            ("queued", None),
            ("queued", -1),
            ("retrying", -1),
            ("sleeping", -1),
            ("deferred", -1),
            ("running", None),
            ("running", None),
        ):
            a_row(queue="a", phase=phase, minutes=minutes)
        for phase, minutes in (("deferred", 5), ("sleeping", 5), ("waiting", -1), ("held", None), ("parked", None)):
            a_row(queue="b", phase=phase, minutes=minutes)
        for _ in range(5):
            a_row(queue="c", phase="queued")
        a_row(queue="a", phase="queued", engine="restate")
        loads = execute(load(engine="celery", most=3))
        assert loads["b"] == Load()
        assert loads["c"] == Load(queued=3)
        assert execute(load(engine="celery"))["a"] == Load(queued=5, running=2)
        # What scales to zero is missed only once something has waited for it.
        assert [text.partition(" is running")[0] for text in nobody_runs()] == [
            "No celery worker",
            "No restate service",
        ]
        monkeypatch.setenv("TANDEM_SCALED_TO_ZERO", "celery,restate")
        assert nobody_runs() == []
        execute(LATER)
        # The relay sees each lease that Restate has it, and nobody runs it.
        (row,) = Execution.objects.filter(engine="restate")
        Execution.objects.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(hours=1))
        assert execute(seen_alive([row.pk], engine="restate")) == 1
        worker, service = nobody_runs()
        assert "though 7 execution(s) have waited for one for over 60 s: the autoscaler starts none" in worker
        assert "though 1 execution(s) have waited" in service


def unfinished(engine: str) -> str:
    """The rows that a count may be of."""
    rows = Execution.objects.filter(outcome=None, engine=engine)
    return repr(
        list(rows.values("task", "queue", "phase", "due_at", "created_at", "sent_at", "worker", "fence", "lost_leases"))
    )


@pytest.mark.usefixtures("workers")
def test_the_exporter_counts_what_runs_on_either_engine(
    start: Start, address: str, addresses: Mapping[str, str], mark: str, engine: str
) -> None:
    exporter = start("exporter", "--bind", address, "--interval", "0.1")
    until(lambda: exporter.status(f"http://{address}/-/ready") == 200, "the exporter is not ready")
    path = {
        "celery": "/scaling/celery?queues=default",
        "restate": f"/scaling/restate?endpoint={addresses['TANDEM_RESTATE_SERVICE_URL']}",
    }[engine]

    def answer() -> dict[str, float]:
        response = exporter.get(f"http://{address}{path}")
        assert response is not None
        assert response.status_code == 200, response.text
        found: dict[str, float] = response.json()
        return found

    result = tasks.works.using(engine=engine).enqueue(mark, 2.0)
    until(lambda: recorded(mark), "the body did not start")
    until(lambda: answer()["running"] >= 1, "the body is not counted")
    busy = answer()
    assert busy["work"] == busy["queued"] + busy["running"]
    finished(result)
    until(lambda: answer()["work"] == 0, lambda: f"what is over is still counted: {unfinished(engine)}")


def test_the_exporter_refuses_what_it_cannot_count(start: Start, address: str, database: None) -> None:
    exporter = start("exporter", "--bind", address)
    until(lambda: exporter.status(f"http://{address}/-/ready") == 200, "the exporter is not ready")
    for path, words in (
        ("/scaling/celery", "Name the queues"),
        ("/scaling/celery?queues=defualt", "did you mean 'default'?"),
        ("/scaling/restate", "Name the deployment"),
    ):
        answer = exporter.get(f"http://{address}{path}")
        assert answer is not None
        assert (answer.status_code, words in answer.text) == (400, True), answer.text


def test_a_table_that_is_away_for_a_while_ends_no_loop(
    start: Start, workers: Stack, mark: str, addresses: Mapping[str, str]
) -> None:
    """As a restore renames it: each process says so, its heartbeat goes on, and long bodies run once again."""
    ports = [Ports.free().web for _ in range(3)]
    found = dict(zip(("worker", "service", "relay"), (f"127.0.0.1:{port}" for port in ports), strict=True))
    processes = {
        name: start(
            *(part.format(address=address, port=Ports.free().service) for part in COMMANDS[name]),
            TANDEM_TEST_LEASE="2",
        )
        for name, address in found.items()
    }

    def why(name: str) -> str:
        answer = processes[name].get(f"http://{found[name]}/-/ready")
        return "no answer" if answer is None else answer.text

    def says(text: str) -> None:
        for name in found:
            until(partial(lambda name: text in why(name), name), f"{name} does not say {text}", patience=180, every=0.2)

    says("ready\n")
    with psycopg.connect(addresses["DATABASE_URL"], autocommit=True) as operator:
        operator.execute("ALTER TABLE tandem_worker RENAME TO tandem_worker_elsewhere")
        try:
            says("Run `manage.py migrate`")
            assert [processes[name].status(f"http://{address}/-/alive") for name, address in found.items()] == [200] * 3
        finally:
            operator.execute("ALTER TABLE tandem_worker_elsewhere RENAME TO tandem_worker")
    says("ready\n")
    # Longer than a lease, in processes that were there all the time.
    results = [tasks.works.using(engine=name).enqueue(f"{mark}-{name}", 4.0) for name in ("celery", "restate")]
    assert [finished(result).phase for result in results] == ["succeeded", "succeeded"]
    for result in results:
        assert [facts[2] for facts in recorded(f"{mark}-{result.engine}")] == ["start", "end"]
