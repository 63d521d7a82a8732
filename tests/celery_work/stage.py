"""A database and a broker of a test's own, with workers and a relay on them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
import redis
from django.core.management import call_command
from django.db import connections
from django.tasks import task_backends
from django.test import override_settings
from psycopg import sql

from tandem.backend import TandemBackend
from tandem.embedded import binaries
from tandem.engines.celery.engine import CeleryEngine
from tandem.ledger import connection as ledger
from tandem.ledger.models import Execution
from tandem.relay import Relay

REPOSITORY = Path(__file__).parents[2]


def until[T](ask: Callable[[], T], *, seconds: float = 30.0, what: str = "") -> T:
    """Ask until the answer is true, and answer it."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or ask}; last answer {answer!r}")
        time.sleep(0.02)
    return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Broker:
    """A Redis of its own, that tests may fill, freeze, wipe and stop."""

    folder: Path
    options: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url)

    def start(self) -> Self:
        command = [str(binaries.redis().path), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(self.folder), "--loglevel", "warning", *self.options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._answers, what="Redis answers")
        return self

    def _answers(self) -> bool:
        try:
            with self.client as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass
class Worker:
    """A worker process and its log."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text()

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@dataclass
class Stage:
    """Everything a test of the Celery engine plays on."""

    folder: Path
    database_url: str
    broker: Broker
    lease: float = 3.0
    workers: list[Worker] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "TANDEM_BROKER_URL": self.broker.url,
            "TANDEM_TEST_LEASE": str(self.lease),
            "TANDEM_TEST_EFFECTS": str(self.folder / "effects"),
            "DJANGO_SETTINGS_MODULE": "tests.celery_work.settings",
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)]),
            "PYTHONWARNINGS": "ignore",
        }

    @property
    def backend(self) -> TandemBackend:
        backend = task_backends["default"]
        assert isinstance(backend, TandemBackend)
        return backend

    @property
    def engine(self) -> CeleryEngine:
        engine = self.backend.engines["celery"]
        assert isinstance(engine, CeleryEngine)
        return engine

    def spawn(self, *command: str, ready: bool = True, environment: Mapping[str, str] | None = None) -> Worker:
        number = len(self.workers)
        log, flag = self.folder / f"worker-{number}.log", self.folder / f"ready-{number}"
        flag.unlink(missing_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=REPOSITORY,
                env={**self.environment, "TANDEM_READY_FILE": str(flag), **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        worker = Worker(process, log)
        self.workers.append(worker)
        if ready:
            until(
                lambda: flag.exists() or process.poll() is not None,
                seconds=60,
                what=f"ready: {log.read_text()[-2000:]}",
            )
            assert process.poll() is None, log.read_text()
        return worker

    def worker(self, *arguments: str, concurrency: int = 2) -> Worker:
        return self.spawn("-m", "django", "tandem", "worker", "--concurrency", str(concurrency), *arguments)

    @contextmanager
    def relay(self) -> Iterator[Relay]:
        relay = Relay(configuration=self.backend.configuration, engines=self.backend.engines)
        relay.start()
        try:
            yield relay
        finally:
            relay.stop()

    def effects(self, name: str) -> list[list[str]]:
        """What bodies recorded under a name: pid, time, facts."""
        log = self.folder / "effects"
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        return [line[1:] for line in lines if line[0] == name]

    def row(self, id_: Any) -> Execution:
        return Execution.objects.get(pk=id_)

    def reaches(self, id_: Any, phase: str, *, seconds: float = 30.0) -> Execution:
        def there() -> bool:
            return self.row(id_).phase == phase

        try:
            until(there, seconds=seconds)
        except AssertionError:
            logs = "\n".join(worker.text[-3000:] for worker in self.workers)
            raise AssertionError(f"{self.row(id_).__dict__} never reached {phase}\n{logs}") from None
        return self.row(id_)

    def clear(self) -> None:
        while self.workers:
            worker = self.workers.pop()
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
        with connections["default"].cursor() as cursor:
            cursor.execute("TRUNCATE tandem_execution, tandem_step, tandem_progress, tandem_worker CASCADE")
        with self.broker.client as client:
            client.flushall()


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Set a stage: this process's own `default` database and `TASKS` are switched to it too."""
    server = os.environ["DATABASE_URL"].rpartition("/")[0]
    name = f"celery_{os.getpid()}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    broker = Broker(folder).start()
    made = Stage(folder, f"{server}/{name}", broker)
    default = connections["default"]
    before = default.settings_dict["NAME"]
    default.close()
    ledger.close()
    default.settings_dict["NAME"] = name
    try:
        with override_settings(TASKS=_tasks(made)):
            call_command("migrate", verbosity=0)
            yield made
            made.clear()
            made.engine.close()
    finally:
        broker.stop()
        default.close()
        ledger.close()
        default.settings_dict["NAME"] = before


def _tasks(made: Stage) -> dict[str, Any]:
    return {
        "default": {
            "BACKEND": "tandem.TandemBackend",
            "QUEUES": ["default", "other", "emails"],
            "OPTIONS": {
                "ENGINES": {"celery": {"BROKER_URL": made.broker.url, "GRACE_SECONDS": 1.0}},
                "LEASE_SECONDS": made.lease,
                "RELAY_SECONDS": 0.2,
            },
        }
    }
