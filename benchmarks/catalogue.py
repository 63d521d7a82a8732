"""The contenders, with what has to be known to read their figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.environment import Environment
from benchmarks.paired import Aim
from benchmarks.processes import python

__all__ = ["AIMS", "CONTENDERS", "FIGURES", "WORKERS", "Contender", "Figure"]

WORKERS: Final = 2
SERVICES: Final = 1

type Command = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to run a task.

    `module` enqueues. `workers` are the command lines that must run for tasks to run. `recorded` is SQL that counts
    the tasks whose success is stored, where it is. `pushes`: Restate sends tasks to its service, so none can be kept
    waiting; `registers`: the run has to tell Restate of that service. `is_release`: its processes run the code of the last
    release.
    """

    name: str
    title: str
    module: str
    workers: Callable[[Environment], Sequence[Command]]
    stored: str
    acknowledged: str
    processes: str
    bulk: str
    recorded: str | None = None
    migrates: bool = False
    redis_database: int = 0
    pushes: bool = False
    registers: bool = False
    is_release: bool = False


def _celery(module: str) -> Callable[[Environment], Sequence[Command]]:
    arguments = ["--pool", "prefork", "--concurrency", str(WORKERS), "--loglevel", "WARNING"]
    slim = ["--without-gossip", "--without-mingle"]
    return lambda _: [python("-m", "celery", "-A", module, "worker", *arguments, *slim)]


def _django(*arguments: str) -> list[str]:
    return python("-m", "django", *arguments)


def _tandem_on_celery(_: Environment) -> Sequence[Command]:
    return [_django("tandem", "worker", "--concurrency", str(WORKERS)), _django("tandem", "relay")]


def _tandem_on_restate(_: Environment) -> Sequence[Command]:
    return [
        _django("tandem", "service", "--register"),
        _django("tandem", "relay"),
    ]


def _restate(environment: Environment) -> Sequence[Command]:
    bind = ["--bind", f"127.0.0.1:{environment.service_port}", "--workers", str(SERVICES)]
    configuration = ["--config", "python:benchmarks.contenders.hypercorn_settings"]
    return [python("-m", "hypercorn", "benchmarks.contenders.restate_plain:app", *configuration, *bind)]


def _procrastinate(_: Environment) -> Sequence[Command]:
    return [_django("procrastinate", "worker", "--concurrency", "1") for _ in range(WORKERS)]


_LOOP: Final = "a loop of single calls; there is no bulk call"

_OF_THIS_TREE: Final[Mapping[str, Contender]] = {
    contender.name: contender
    for contender in (
        Contender(
            name="celery",
            title="Celery, no results",
            module="benchmarks.contenders.celery_plain",
            workers=_celery("benchmarks.contenders.celery_plain"),
            stored="nothing",
            acknowledged="early, before the body",
            processes="2 prefork children, prefetch 4 each",
            bulk=_LOOP,
            redis_database=0,
        ),
        Contender(
            name="tandem-celery",
            title="Tandem on Celery",
            module="benchmarks.contenders.tandem",
            workers=_tandem_on_celery,
            stored="every task, its state and result (PostgreSQL)",
            acknowledged="early; the ledger's lease covers a lost worker",
            processes="2 prefork children, prefetch 1 each; 1 relay",
            bulk="enqueue_many (results are made when looked at)",
            recorded="SELECT count(*) FROM tandem_execution WHERE engine = 'celery' AND outcome = 'succeeded'",
            migrates=True,
            redis_database=1,
        ),
        Contender(
            name="celery-results",
            title="Celery + django-celery-results",
            module="benchmarks.contenders.celery_results",
            workers=_celery("benchmarks.contenders.celery_results"),
            stored="the result, once finished (PostgreSQL), connection kept",
            acknowledged="early, before the body",
            processes="2 prefork children, prefetch 4 each",
            bulk=_LOOP,
            recorded="SELECT count(*) FROM django_celery_results_taskresult WHERE status = 'SUCCESS'",
            migrates=True,
            redis_database=2,
        ),
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
            migrates=True,
        ),
        Contender(
            name="restate",
            title="Restate SDK",
            module="benchmarks.contenders.restate_plain",
            workers=_restate,
            stored="the invocation and its journal (Restate), no key",
            acknowledged="after the body, by Restate",
            processes="1 service process (hypercorn)",
            bulk="32 sends in flight",
            pushes=True,
            registers=True,
        ),
        Contender(
            name="tandem-restate",
            title="Tandem on Restate",
            module="benchmarks.contenders.tandem",
            workers=_tandem_on_restate,
            stored="every task, its state and result (PostgreSQL); the invocation (Restate)",
            acknowledged="after the body, by Restate",
            processes="1 service process (granian), 8 bodies at once; 1 relay",
            bulk="enqueue_many (results are made when looked at)",
            recorded="SELECT count(*) FROM tandem_execution WHERE engine = 'restate' AND outcome = 'succeeded'",
            migrates=True,
            redis_database=3,
            pushes=True,
        ),
    )
}

_OF_THE_RELEASE: Final = {
    other: replace(
        _OF_THIS_TREE[name],
        name=other,
        title=f"{_OF_THIS_TREE[name].title}, last release",
        processes=processes,
        redis_database=database,
        is_release=True,
    )
    for name, other, processes, database in (
        ("tandem-celery", "release-celery", "2 prefork children, prefetch 1 each; 1 relay", 4),
        ("tandem-restate", "release-restate", "1 service process (hypercorn), 8 bodies at once; 1 relay", 5),
    )
}

CONTENDERS: Final[Mapping[str, Contender]] = {**_OF_THIS_TREE, **_OF_THE_RELEASE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table for each contender."""

    name: str
    title: str
    unit: str
    baseline: str


FIGURES: Final = (
    Figure(name="single", title="single enqueue", unit="/s", baseline="celery"),
    Figure(name="bulk", title="bulk enqueue", unit="/s", baseline="celery"),
    Figure(name="drain", title="drain of waiting tasks", unit="/s", baseline="celery"),
    Figure(name="end_to_end", title="end to end on Restate", unit="/s", baseline="restate"),
    Figure(name="idle_p50", title="idle: enqueue to start, p50", unit="ms", baseline="celery"),
    Figure(name="idle_p99", title="idle: enqueue to start, p99", unit="ms", baseline="celery"),
)

AIMS: Final = (
    Aim(figure="single", contender="tandem-celery", baseline="celery", bound=1.0),
    Aim(figure="bulk", contender="tandem-celery", baseline="celery", bound=20.0),
    Aim(figure="drain", contender="tandem-celery", baseline="celery", bound=0.6),
    Aim(figure="drain", contender="tandem-celery", baseline="celery-results", bound=1.3),
    Aim(figure="end_to_end", contender="tandem-restate", baseline="restate", bound=0.8),
    Aim(figure="idle_p50", contender="tandem-celery", baseline=None, bound=8.0),
    Aim(figure="idle_p50", contender="tandem-restate", baseline=None, bound=12.0),
)
