"""Faults of PostgreSQL, Redis and Restate: killed, frozen, restarted, emptied, full."""

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import psycopg
import redis

from tandem.ledger.models import Execution
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.system import WORKERS, System
from tests.chaos.tasks import plain
from tests.chaos.waiting import until

__all__ = ["FAULTS"]

_BACKLOG: Final = 8
_REFUSED: Final = 3


def _kill(scene: Scene, name: str) -> float:
    server = scene.system.servers[name]
    server.kill()
    server.start()
    return time.time()


def _freeze(scene: Scene, name: str) -> float:
    server = scene.system.servers[name]
    server.freeze()
    time.sleep(scene.pause)
    return server.resume()


def _flush(scene: Scene) -> float:
    with _backlog(scene), _redis() as client:
        client.flushall()
        return time.time()


def _empty_redis(scene: Scene) -> float:
    """It keeps nothing over a restart."""
    with _backlog(scene):
        server = scene.system.servers["redis"]
        server.stop()
        server.start()
        return time.time()


def _fill_redis(scene: Scene) -> float:
    with _redis() as client:
        client.config_set("maxmemory", 1)
        try:
            until(
                lambda: _unsent(scene.load.owner) >= _REFUSED,
                "Redis refuses what is pushed",
            )
        finally:
            client.config_set("maxmemory", 0)
    return time.time()


def _unsent(owner: str) -> int:
    return Execution.objects.filter(owner=owner, engine="celery", phase="queued", sent_at=None).count()


def _use_up_connections(scene: Scene) -> float:
    """Take every connection there is: the free ones, then those of everybody else, whose sessions are ended."""
    with ExitStack() as stack:
        first = stack.enter_context(psycopg.connect(os.environ["DATABASE_URL"], autocommit=True))
        [most] = first.execute("SELECT current_setting('max_connections')::int").fetchone() or [0]
        held = [first]

        def hold_all() -> bool:
            try:
                while True:
                    held.append(stack.enter_context(psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)))
            except psycopg.OperationalError:
                first.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> ALL(%s)",
                    [[connection.info.backend_pid for connection in held]],
                )
            return len(held) >= most

        until(hold_all, "every connection is taken")
        time.sleep(scene.pause)
        scene.notes.append(f"all {most} connections of PostgreSQL were taken")
    return time.time()


def _lose_volume(scene: Scene) -> float:
    system = scene.system
    server = system.servers["restate"]
    server.stop()
    server.empty("restate/data")
    server.start()
    _register(system)
    return time.time()


def _register(system: System) -> None:
    """Tell Restate of the running service, as the operator of a new one does."""
    addresses = system.servers["restate"].addresses
    request = urllib.request.Request(
        f"{addresses['TANDEM_RESTATE_ADMIN_URL']}/deployments",
        data=json.dumps({"uri": addresses["TANDEM_RESTATE_SERVICE_URL"]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def _restart_each(scene: Scene) -> float:
    for server in scene.system.servers.values():
        server.stop()
        server.start()
    return time.time()


@contextmanager
def _redis() -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(os.environ["TANDEM_BROKER_URL"], socket_timeout=5) as client:
        yield client


@contextmanager
def _backlog(scene: Scene) -> Iterator[None]:
    """Freeze the workers until some references wait in Redis, and as long as the block lasts."""
    workers = [scene.system.processes[name] for name in WORKERS]
    for worker in workers:
        worker.freeze()
    try:
        for number in range(2 * _BACKLOG):
            scene.load.extra(plain, number, engine="celery")
        with _redis() as client:
            until(
                lambda: sum(client.llen(key) for key in client.scan_iter("default*", _type="list")) >= _BACKLOG,
                "references wait in Redis",
            )
        yield
    finally:
        for worker in workers:
            worker.resume()


FAULTS: Final = (
    Fault(name="restate", title="kill -9 Restate", inject=lambda scene: _kill(scene, "restate")),
    Fault(name="redis", title="kill -9 Redis", inject=lambda scene: _kill(scene, "redis")),
    Fault(
        name="postgres",
        title="kill -9 PostgreSQL, all processes",
        inject=lambda scene: _kill(scene, "postgres"),
        of_the_ledger=True,
    ),
    Fault(name="flush", title="FLUSHALL of a backlog", inject=_flush),
    Fault(name="empty-redis", title="Redis restarted empty, with a backlog", inject=_empty_redis),
    Fault(name="frozen-redis", title="Redis frozen", inject=lambda scene: _freeze(scene, "redis")),
    Fault(
        name="frozen-postgres",
        title="PostgreSQL frozen",
        inject=lambda scene: _freeze(scene, "postgres"),
        of_the_ledger=True,
    ),
    Fault(name="frozen-restate", title="Restate frozen", inject=lambda scene: _freeze(scene, "restate")),
    Fault(name="full-redis", title="Redis at maxmemory, noeviction", inject=_fill_redis),
    Fault(name="connections", title="PostgreSQL out of connections", inject=_use_up_connections, of_the_ledger=True),
    Fault(name="lost-volume", title="Restate's volume lost", inject=_lose_volume),
    Fault(name="restart-servers", title="SIGTERM of each server in turn", inject=_restart_each, of_the_ledger=True),
)
