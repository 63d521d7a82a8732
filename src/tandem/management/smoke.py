"""`manage.py tandem smoke`: one task on each engine, from enqueue to its end."""

import argparse
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import CommandError
from django.utils import timezone

from tandem.backend import TandemBackend
from tandem.declarations import TaskResult
from tandem.engines.memory import MemoryEngine
from tandem.exceptions import nearest
from tandem.ledger import connection as ledger
from tandem.ledger.operating import pruning
from tandem.management.arguments import backend_of, refuse_unsound
from tandem.registry import registered_tasks
from tandem.routing import problems

if TYPE_CHECKING:
    from tandem.ledger.models import Execution

__all__ = ["add_arguments", "handle"]

_AGAIN_SECONDS: Final = 0.2
_MOST_PRIORITY: Final = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take which queues, and how long to wait."""
    parser.add_argument("--engines", metavar="A,B", help="which (default: all that have processes of their own)")
    parser.add_argument("--queues", metavar="A,B", help="one in each, on engines with queues (default: the first)")
    parser.add_argument("--within", type=float, default=60.0, metavar="SECONDS", help="for all of them (default: 60)")


def handle(options: dict[str, Any]) -> None:
    """Look at the routes, run a task that ends at once on each engine, and delete what was written for it.

    What has not succeeded in time is cancelled and kept, for `show`; exits 1 with what became of it.
    """
    backend = backend_of()
    refuse_unsound(backend)
    names, written = list(registered_tasks()), backend.router.rules(fresh=True).written
    failures = problems(written, names, list(backend.engines))
    started = time.monotonic()
    sent = _send(backend, engines=_engines(backend, options["engines"]), queues=_names(options["queues"]))
    waiting = dict(sent)
    while waiting:
        over = time.monotonic() - started >= options["within"]
        for where, result in list(waiting.items()):
            row = _row(result)
            if not over and row.outcome is None and row.phase != "held":
                continue
            seconds = time.monotonic() - started
            if row.phase == "succeeded":
                print(f"{where}: it ran on {row.worker} after {seconds:.1f} s.", flush=True)
            else:
                failures.append(f"{where}: {_why(row, seconds, lease=backend.configuration.lease_seconds)}")
                result.cancel(by="tandem smoke")
            del waiting[where]
        time.sleep(_AGAIN_SECONDS if waiting else 0)
    ledger.execute(pruning.forget([result.id for result in sent.values()]))
    if failures:
        raise CommandError("\n".join(failures))


def _names(text: str | None) -> list[str]:
    return [name for name in (text or "").split(",") if name]


def _engines(backend: TandemBackend, text: str | None) -> list[str]:
    known = [name for name, engine in backend.engines.items() if not isinstance(engine, MemoryEngine)]
    if text is None:
        return known
    for name in _names(text):
        if name not in known:
            raise CommandError(
                f"--engines names {name!r}, which the settings' ENGINES do not have{nearest(name, known)}"
                f" They have {', '.join(known) or 'none with processes of its own'}."
            )
    return _names(text)


def _send(backend: TandemBackend, *, engines: list[str], queues: list[str]) -> dict[str, TaskResult]:
    """Enqueue on each engine, by what a person calls the place."""
    from tandem.management.smoke_task import answer  # noqa: PLC0415  # reads the settings, which `add_arguments` must not

    known, found = backend.configuration.queues, {}
    for queue in queues:
        if known and queue not in known:
            raise CommandError(f"--queues names {queue!r}, which does not exist{nearest(queue, known)}")
    for name in engines:
        pinned = answer.using(engine=name, priority=_MOST_PRIORITY)
        for queue in (queues or [answer.queue_name]) if "queues" in backend.engines[name].supports else [""]:
            call = pinned.using(queue_name=queue) if queue else pinned
            found[f"{name}, queue {queue!r}" if queue else name] = call.enqueue()
    return found


def _row(result: TaskResult) -> "Execution":
    from tandem.ledger.models import Execution  # noqa: PLC0415  # models need the apps loaded

    return Execution.objects.using(ledger.LEDGER_DATABASE).get(pk=result.id)


def _why(row: "Execution", seconds: float, *, lease: float) -> str:
    """Say where it is, why as far as the ledger knows, and what to do."""
    from tandem.ledger.models import Event, Worker  # noqa: PLC0415  # models need the apps loaded

    if row.phase == "held":
        return f"held ({row.reason}). `tandem routes kill {row.engine} --off` lifts the kill switch."
    said = f"{row.phase} after {seconds:.0f} s; execution {row.id}."
    events = Event.objects.using(ledger.LEDGER_DATABASE).filter(execution_id=row.id).order_by("-id")
    if row.errors:
        return f"{said} {row.errors[-1]['traceback'].strip().splitlines()[-1]}"
    if (event := events.first()) is not None:
        said += f" {event.kind}: {event.detail}"
    alive = [
        worker.id
        for worker in Worker.objects.using(ledger.LEDGER_DATABASE).filter(
            engine=row.engine, seen_at__gt=timezone.now() - timedelta(seconds=lease)
        )
        if not worker.queues or row.queue in worker.queues
    ]
    if alive:
        return f"{said} Processes that are alive and could run it: {', '.join(alive)}."
    return f"{said} No process of {row.engine} that could run it is alive: look at the log of one that should be."
