"""DBOS, as its example of a queue worker has it: a process that runs workflows, and a client that enqueues them.

The queue has its defaults: no limit, and a look once a second.
"""

import signal
from functools import cache
from typing import Final

import sqlalchemy
from dbos import DBOS, DBOSClient, EnqueueOptions

from benchmarks import channel
from benchmarks.environment import Environment
from benchmarks.work import SLEEP_SECONDS, STEPS, check, double

__all__ = ["bulk", "main", "single", "stepped", "workflow"]

_QUEUE: Final = "benchmark"
_STOPPING: Final = {signal.SIGTERM, signal.SIGINT}
_GRACE_SECONDS: Final = 10

_double = DBOS.step(name="double")(double)


@DBOS.workflow(name="noop")
def run_noop(index: int) -> None:
    """Say that it started, and nothing else."""
    channel.record(index)


@DBOS.workflow(name="stepped")
def run_stepped(index: int) -> None:
    """Three steps, then say so."""
    for _ in STEPS:
        _double(index)
    channel.record(index)


@DBOS.workflow(name="child")
def run_child(number: int) -> int:
    """Answer a number."""
    return double(number)


@DBOS.workflow(name="workflow")
def run_workflow(index: int) -> None:
    """Sleep, run two children, then say so."""
    DBOS.sleep(SLEEP_SECONDS)
    children = [DBOS.start_workflow(run_child, number) for number in (index, index + 1)]
    check(index, [child.get_result() for child in children])
    channel.record(index)


@cache
def _client() -> DBOSClient:
    return DBOSClient(system_database_url=Environment.read().database_url)


@cache
def _engine() -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(Environment.read().database_url.replace("postgresql:", "postgresql+psycopg:"))


def single(index: int) -> None:
    """Enqueue one workflow."""
    _client().enqueue(EnqueueOptions(queue_name=_QUEUE, workflow_name="noop"), index)


def bulk(indexes: range) -> None:
    """Enqueue many in one transaction."""
    _many("noop", indexes)


def stepped(indexes: range) -> None:
    """As `bulk`, with steps."""
    _many("stepped", indexes)


def workflow(indexes: range) -> None:
    """As `bulk`, with a sleep and children."""
    _many("workflow", indexes)


def _many(name: str, indexes: range) -> None:
    options = EnqueueOptions(queue_name=_QUEUE, workflow_name=name)
    with _engine().begin() as connection:
        for index in indexes:
            _client().enqueue_in_transaction(connection, options, index)


def main() -> None:
    """Run workflows until told to end."""
    # Before any thread is there, so that all of them leave the signals to this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    DBOS(
        config={
            "name": "benchmark",
            "system_database_url": Environment.read().database_url,
            "log_level": "WARNING",
        }
    )
    DBOS.launch()
    DBOS.register_queue(_QUEUE)
    signal.sigwait(_STOPPING)
    DBOS.destroy(workflow_completion_timeout_sec=_GRACE_SECONDS)


if __name__ == "__main__":
    main()
