"""Other libraries as contenders: each as its own documents set it up, with its defaults where they say nothing."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.contender import LOOP, WORKERS, Command, Contender, django, migrate
from benchmarks.environment import Environment
from benchmarks.processes import python

__all__ = ["PEERS"]


def _dramatiq(_: Environment) -> Sequence[Command]:
    return [python("-m", "dramatiq", "benchmarks.contenders.dramatiq_redis", "--processes", "2", "--threads", "8")]


def _huey(_: Environment) -> Sequence[Command]:
    arguments = ["--workers", str(WORKERS), "--worker-type", "process", "--graceful-signal", "TERM", "--quiet"]
    return [python("-m", "huey.bin.huey_consumer", "benchmarks.contenders.huey_redis.huey", *arguments)]


def _rq(environment: Environment) -> Sequence[Command]:
    arguments = ["--num-workers", str(WORKERS), "--url", environment.redis_url, "--logging-level", "WARNING"]
    return [python("-m", "rq.cli", "worker-pool", *arguments, "default")]


def _procrastinate(_: Environment) -> Sequence[Command]:
    return [django("procrastinate", "worker", "--concurrency", "1") for _ in range(WORKERS)]


def _django_tasks(_: Environment) -> Sequence[Command]:
    return [django("db_worker", "--verbosity", "0") for _ in range(WORKERS)]


def _dbos(_: Environment) -> Sequence[Command]:
    return [python("-m", "benchmarks.contenders.dbos_postgres")]


def _migrate_dbos(environment: Environment) -> Command:
    return [str(Path(sys.executable).with_name("dbos")), "migrate", "--sys-db-url", environment.database_url]


PEERS: Final = (
    Contender(
        name="procrastinate",
        title="procrastinate",
        module="benchmarks.contenders.procrastinate_django",
        workers=_procrastinate,
        stored="every job and its state, no result (PostgreSQL)",
        acknowledged="after the body, by the job's row",
        processes="2 worker processes, concurrency 1 each (10 was a tie)",
        bulk="batch_defer",
        recorded="SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'",
        migration=migrate,
    ),
    Contender(
        name="dramatiq",
        title="dramatiq, 2 x 8 threads",
        module="benchmarks.contenders.dramatiq_redis",
        workers=_dramatiq,
        stored="nothing",
        acknowledged="after the body, in Redis; what a lost worker had is queued again after a minute",
        processes="2 worker processes, 8 threads and a prefetch of 16 each; idle ones look less and less, to once a second",
        bulk=LOOP,
        redis_database=7,
        looks=1.0,
    ),
    Contender(
        name="huey",
        title="huey",
        module="benchmarks.contenders.huey_redis",
        workers=_huey,
        stored="no None, which a no-op returns; other results (Redis)",
        acknowledged="early, before the body; nothing covers a lost worker",
        processes="2 worker processes and a scheduler",
        bulk=LOOP,
        redis_database=8,
    ),
    Contender(
        name="rq",
        title="rq",
        module="benchmarks.contenders.rq_redis",
        workers=_rq,
        stored="every job, its state and result, for 500 s (Redis)",
        acknowledged="early, before the body; what a lost worker had is marked as failed",
        processes="a pool of 2 workers, each of which forks for each job",
        bulk="enqueue_many",
        redis_database=9,
        share=0.2,
    ),
    Contender(
        name="django-tasks-db",
        title="django-tasks-db",
        module="benchmarks.contenders.django_tasks",
        workers=_django_tasks,
        stored="every task, its state and result (PostgreSQL)",
        acknowledged="before the body, by the task's row; nothing covers a lost worker",
        processes="2 worker processes; an idle one looks once a second",
        bulk=LOOP,
        recorded="SELECT count(*) FROM django_tasks_database_dbtaskresult WHERE status = 'SUCCESSFUL'",
        migration=migrate,
        share=0.2,
        looks=1.0,
    ),
    Contender(
        name="dbos",
        title="DBOS",
        module="benchmarks.contenders.dbos_postgres",
        workers=_dbos,
        stored="every workflow, its steps, their and its results (PostgreSQL)",
        acknowledged="after the body, by the workflow's row; a lost worker's go on once it is back",
        processes="1 worker process, a thread for each workflow; looks once a second",
        bulk="enqueue_in_transaction, all in one",
        recorded="SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS' AND parent_workflow_id IS NULL",
        migration=_migrate_dbos,
        pushes=True,
        durable=True,
        share=0.2,
        looks=1.0,
    ),
)
