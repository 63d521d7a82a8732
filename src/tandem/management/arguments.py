"""What several commands share: the backend, finding executions, printing tables."""

import argparse
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from django.core.management.base import CommandError
from django.tasks import task_backends
from django.utils import timezone

from tandem.backend import TandemBackend
from tandem.checks import refusals
from tandem.configuration import ledger_configuration
from tandem.exceptions import nearest
from tandem.ledger.times import in_utc
from tandem.phases import ENDED
from tandem.probes.health import Health

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from tandem.ledger.models import Execution

__all__ = [
    "add_filters",
    "add_health",
    "backend_of",
    "bodies_at_once",
    "duration",
    "filtered",
    "health_of",
    "print_table",
    "refuse_unsound",
    "told_to_end",
    "when",
]


def backend_of() -> TandemBackend:
    """Return the backend that has a ledger; raises `ConfigurationError` where there is none, or more than one."""
    return cast("TandemBackend", task_backends[ledger_configuration().alias])


def refuse_unsound(*backends: TandemBackend) -> None:
    """Raise `CommandError` where the settings cannot work: a process says so before it starts, not at its first task."""
    found = [text for backend in backends for text in refusals(backend)]
    if found:
        raise CommandError("\n".join(found))


def add_health(parser: argparse.ArgumentParser) -> None:
    """Take `--health`, where probes are answered."""
    parser.add_argument(
        "--health", metavar="HOST:PORT", help="answer GET /-/alive and /-/ready there (default: nowhere)"
    )


def bodies_at_once(options: dict[str, Any]) -> int | None:
    """Read `--concurrency`, None where it is not given; raises `CommandError` below 1."""
    number: int | None = options.get("concurrency")
    if number is not None and number < 1:
        raise CommandError(f"--concurrency is {number}, but must be at least 1.")
    return number


def health_of(options: dict[str, Any]) -> Health:
    """Return the process's health, answering where `--health` says."""
    health = Health()
    if options.get("health"):
        health.listen(options["health"])
    return health


@contextmanager
def told_to_end() -> Iterator[Callable[[], object]]:
    """Take SIGTERM and SIGINT while the block lasts; gives what waits for the first of them."""
    # A queue, since a handler runs between any two instructions of this thread, where taking a lock could wait for ever.
    told: queue.SimpleQueue[int] = queue.SimpleQueue()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda got, _: told.put(got)) for number in numbers}
    try:
        yield told.get
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Take the filters that choose executions."""
    parser.add_argument("--task", metavar="NAME", help="dotted name; a trailing * matches its beginning")
    parser.add_argument("--phase", metavar="PHASE", help="such as queued, running, failed, dead; several with commas")
    parser.add_argument("--engine", metavar="ENGINE", help="celery, restate, or one of your own")
    parser.add_argument("--queue", metavar="QUEUE")
    parser.add_argument("--owner", metavar="OWNER")
    parser.add_argument("--since", metavar="AGE", help="enqueued at most so long ago: 90s, 15m, 12h, 7d")


def filtered(options: dict[str, Any]) -> "QuerySet[Execution]":
    """Return the executions that the filters choose, newest first."""
    from tandem.ledger.models import Execution, Phase  # noqa: PLC0415  # models need the apps loaded

    rows = Execution.objects.using("default").order_by("-created_at", "-id")
    if task := options.get("task"):
        rows = rows.filter(task__startswith=task[:-1]) if task.endswith("*") else rows.filter(task=task)
    if phases := options.get("phase"):
        wanted = [name.strip() for name in phases.split(",")]
        for name in wanted:
            if name not in Phase.values:
                raise CommandError(
                    f"--phase {name!r} does not exist{nearest(name, Phase.values)} Phases: {', '.join(Phase.values)}."
                )
        rows = rows.filter(phase__in=wanted)
        if not set(ENDED) & set(wanted):
            # By the index of what is not over: where none is found, the other would be walked to its end.
            rows = rows.filter(outcome__isnull=True)
    for name in ("engine", "queue", "owner"):
        if options.get(name):
            rows = rows.filter(**{name: options[name]})
    if options.get("since"):
        rows = rows.filter(created_at__gte=timezone.now() - duration(options["since"]))
    return rows


def duration(text: str) -> timedelta:
    """Read `90s`, `15m`, `12h` or `7d`."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    try:
        return timedelta(**{units[text[-1:]]: float(text[:-1])})
    except (KeyError, ValueError):
        raise CommandError(f"{text!r} is no age; write a number and s, m, h or d, such as 15m.") from None


def when(time: datetime | None) -> str:
    """Show a time of the ledger, in UTC to the second."""
    return "-" if time is None else f"{in_utc(time):%Y-%m-%d %H:%M:%S}Z"


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns as wide as what is in them."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(headings), *cells]) for column in range(len(headings))]
    for row in [list(headings), ["-" * width for width in widths], *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
