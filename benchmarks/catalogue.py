"""The contenders, with what has to be known to read their figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.contender import LOOP, WORKERS, Command, Contender, django, migrate
from benchmarks.environment import Environment
from benchmarks.paired import Aim
from benchmarks.peers import PEERS
from benchmarks.processes import python

__all__ = ["AIMS", "CONTENDERS", "FIGURES", "Contender", "Figure"]

SERVICES: Final = 1


def _celery(module: str) -> Callable[[Environment], Sequence[Command]]:
    arguments = ["--pool", "prefork", "--concurrency", str(WORKERS), "--loglevel", "WARNING"]
    slim = ["--without-gossip", "--without-mingle"]
    return lambda _: [python("-m", "celery", "-A", module, "worker", *arguments, *slim)]


def _tandem_on_celery(_: Environment) -> Sequence[Command]:
    return [django("tandem", "worker", "--concurrency", str(WORKERS)), django("tandem", "relay")]


def _tandem_on_threads(_: Environment) -> Sequence[Command]:
    worker = django("tandem", "worker", "--pool", "threads", "--concurrency", "8")
    return [*(worker for _ in range(WORKERS)), django("tandem", "relay")]


def _tandem_on_restate(_: Environment) -> Sequence[Command]:
    return [
        django("tandem", "service", "--register"),
        django("tandem", "relay"),
    ]


def _restate(environment: Environment) -> Sequence[Command]:
    bind = ["--bind", f"127.0.0.1:{environment.service_port}", "--workers", str(SERVICES)]
    configuration = ["--config", "python:benchmarks.contenders.hypercorn_settings"]
    return [python("-m", "hypercorn", "benchmarks.contenders.restate_plain:app", *configuration, *bind)]


_SUCCEEDED: Final = "outcome = 'succeeded' AND parent IS NULL"

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
            bulk=LOOP,
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
            recorded=f"SELECT count(*) FROM tandem_execution WHERE engine = 'celery' AND {_SUCCEEDED}",
            migration=migrate,
            redis_database=1,
            durable=True,
        ),
        Contender(
            name="tandem-threads",
            title="Tandem on Celery, threads 2 x 8",
            module="benchmarks.contenders.tandem",
            workers=_tandem_on_threads,
            stored="every task, its state and result (PostgreSQL)",
            acknowledged="early; the ledger's lease covers a lost worker",
            processes="2 worker processes, 8 threads each; 1 relay",
            bulk="enqueue_many (results are made when looked at)",
            recorded=f"SELECT count(*) FROM tandem_execution WHERE engine = 'celery' AND {_SUCCEEDED}",
            migration=migrate,
            redis_database=6,
            durable=True,
        ),
        Contender(
            name="celery-results",
            title="Celery + django-celery-results",
            module="benchmarks.contenders.celery_results",
            workers=_celery("benchmarks.contenders.celery_results"),
            stored="the result, once finished (PostgreSQL), connection kept",
            acknowledged="early, before the body",
            processes="2 prefork children, prefetch 4 each",
            bulk=LOOP,
            recorded="SELECT count(*) FROM django_celery_results_taskresult WHERE status = 'SUCCESS'",
            migration=migrate,
            redis_database=2,
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
            durable=True,
        ),
        Contender(
            name="tandem-restate",
            title="Tandem on Restate",
            module="benchmarks.contenders.tandem",
            workers=_tandem_on_restate,
            stored="every task, its state and result (PostgreSQL); the invocation (Restate)",
            acknowledged="after the body, by Restate",
            processes="1 service process (granian), 16 bodies at once; 1 relay",
            bulk="enqueue_many (results are made when looked at)",
            recorded=f"SELECT count(*) FROM tandem_execution WHERE engine = 'restate' AND {_SUCCEEDED}",
            migration=migrate,
            redis_database=3,
            pushes=True,
            durable=True,
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
        durable=False,
        is_release=True,
    )
    for name, other, processes, database in (
        ("tandem-celery", "release-celery", "2 prefork children, prefetch 1 each; 1 relay", 4),
        ("tandem-threads", "release-threads", "2 worker processes, 8 threads each; 1 relay", 10),
        ("tandem-restate", "release-restate", "1 service process (hypercorn), 8 bodies at once; 1 relay", 5),
    )
}

CONTENDERS: Final[Mapping[str, Contender]] = {
    **_OF_THIS_TREE,
    **{peer.name: peer for peer in PEERS},
    **_OF_THE_RELEASE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table for each contender.

    `path` is where a repeat has it, `work` where that has what its tasks used: None where nothing but time was measured.
    """

    name: str
    title: str
    unit: str
    baseline: str
    path: tuple[str, ...]
    work: tuple[str, ...] | None = None


_RATE: Final = "per_second"
_PROCESSOR: Final = ("usage", "cpu", "all")


def _figures(name: str, title: str, baseline: str) -> tuple[Figure, Figure]:
    """What is done in a second, and what the processor has to do for it."""
    work = (name,)
    return (
        Figure(name=name, title=title, unit="/s", baseline=baseline, path=(*work, _RATE), work=work),
        Figure(
            name=f"{name}_cpu",
            title=f"{title}, processor",
            unit="ms",
            baseline=baseline,
            path=(*work, *_PROCESSOR),
            work=work,
        ),
    )


FIGURES: Final = (
    Figure(name="single", title="single enqueue", unit="/s", baseline="celery", path=("single", _RATE)),
    Figure(name="bulk", title="bulk enqueue", unit="/s", baseline="celery", path=("bulk", _RATE)),
    Figure(name="drain", title="drain of waiting tasks", unit="/s", baseline="celery", path=("drain", _RATE), work=()),
    Figure(
        name="end_to_end",
        title="end to end, many at once",
        unit="/s",
        baseline="restate",
        path=("end_to_end", _RATE),
        work=(),
    ),
    Figure(name="cpu", title="processor a task", unit="ms", baseline="celery", path=_PROCESSOR, work=()),
    Figure(
        name="memory",
        title="memory of all workers after the bulk",
        unit="MB",
        baseline="celery",
        path=("memory", "all"),
    ),
    Figure(name="idle_p50", title="idle: enqueue to start, p50", unit="ms", baseline="celery", path=("idle", "p50")),
    Figure(name="idle_p99", title="idle: enqueue to start, p99", unit="ms", baseline="celery", path=("idle", "p99")),
    *_figures("stepped", "3 steps", "dbos"),
    *_figures("workflow", "sleep and 2 children", "dbos"),
)

AIMS: Final = (
    Aim(figure="single", contender="tandem-celery", baseline="celery", bound=1.0),
    Aim(figure="bulk", contender="tandem-celery", baseline="celery", bound=20.0),
    Aim(figure="drain", contender="tandem-celery", baseline="celery", bound=0.6),
    Aim(figure="drain", contender="tandem-celery", baseline="celery-results", bound=1.3),
    Aim(figure="drain", contender="tandem-threads", baseline="dramatiq", bound=1.0),
    Aim(figure="drain", contender="tandem-threads", baseline="release-threads", bound=1.5),
    Aim(figure="end_to_end", contender="tandem-restate", baseline="restate", bound=0.8),
    Aim(figure="cpu", contender="tandem-restate", baseline="release-restate", bound=0.5, most=True),
    Aim(figure="memory", contender="tandem-restate", baseline=None, bound=130.0),
    Aim(figure="idle_p50", contender="tandem-celery", baseline=None, bound=8.0),
    Aim(figure="idle_p50", contender="tandem-restate", baseline=None, bound=12.0),
    Aim(figure="stepped_cpu", contender="tandem-celery", baseline="dbos", bound=1.3, most=True),
    Aim(figure="stepped_cpu", contender="tandem-restate", baseline="dbos", bound=1.3, most=True),
)
