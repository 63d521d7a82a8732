"""The servers of a run: Tandem's embedded stack, on free ports, in a folder of the run's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from benchmarks.environment import Environment
from tandem.embedded import binaries
from tandem.embedded.ports import Ports
from tandem.embedded.stack import Stack

__all__ = ["durability", "environments", "pids", "run_servers", "versions"]


@contextmanager
def run_servers(folder: Path) -> Iterator[Stack]:
    """PostgreSQL, Redis and Restate, ready; they are gone, with all they started, when the block is left."""
    with Stack(data=folder, ports=Ports.free(), only=["postgres", "redis", "restate"]) as stack:
        yield stack


def environments(stack: Stack, names: dict[str, int]) -> dict[str, Environment]:
    """What each contender's processes are told; `names` has the number of each one's Redis database."""
    addresses = stack.addresses
    database = urlsplit(addresses["DATABASE_URL"])
    ports = {port for port in asdict(stack.ports).values() if port != stack.ports.service}
    free = (port for port in range(stack.ports.service, stack.ports.service + 200) if port not in ports)
    return {
        name: Environment(
            contender=name,
            database={
                "HOST": str(database.hostname),
                "PORT": str(database.port),
                "USER": str(database.username),
                "NAME": database.path.removeprefix("/"),
            },
            redis_url=addresses["TANDEM_BROKER_URL"].rpartition("/")[0] + f"/{number}",
            ingress_url=addresses["TANDEM_RESTATE_INGRESS_URL"],
            admin_url=addresses["TANDEM_RESTATE_ADMIN_URL"],
            identity_key=addresses["TANDEM_RESTATE_IDENTITY_KEYS"],
            service_port=next(free),
        )
        for name, number in names.items()
    }


def pids(stack: Stack) -> dict[str, int]:
    """Each server's first process."""
    titles = {"postgres": "PostgreSQL", "redis": "Redis", "restate": "Restate"}
    return {title: stack.pids(name)[0] for name, title in titles.items()}


def versions() -> dict[str, str]:
    """The servers' programs."""
    return {
        "PostgreSQL": str(binaries.postgres()),
        "Redis": str(binaries.redis()),
        "Restate": str(binaries.restate()),
    }


def durability(environment: Environment) -> dict[str, Any]:
    """What the database says of how it commits."""
    with psycopg.connect(**environment.connection()) as connection:
        rows = connection.execute(
            "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)",
            [["fsync", "synchronous_commit", "wal_sync_method", "full_page_writes"]],
        ).fetchall()
    return dict(rows)
