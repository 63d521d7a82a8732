"""`manage.py tandem show ID`."""

import argparse
import json
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from tandem.management.arguments import backend_of, print_table, when

__all__ = ["add_arguments", "handle"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take an id."""
    parser.add_argument("id", help="the execution's id")


def handle(options: dict[str, Any]) -> None:
    """Print one execution: where it is, why there, its steps, signals, children, events and errors."""
    from django.core.exceptions import ValidationError  # noqa: PLC0415  # beside the models

    from tandem.ledger.models import Execution, Progress  # noqa: PLC0415  # models need the apps loaded

    try:
        row = Execution.objects.get(pk=options["id"])
    except (Execution.DoesNotExist, ValidationError, ValueError):
        raise CommandError(
            f"No execution {options['id']!r} in the ledger. `manage.py tandem list` shows the latest."
        ) from None
    engine = backend_of().engines.get(row.engine)
    lines = {
        "id": row.id,
        "task": row.task,
        "phase": row.phase,
        "engine": f"{row.engine} ({row.reason})",
        "place": " ".join(filter(None, (engine.place(row.task) if engine else "", row.invocation))) or "-",
        "queue": f"{row.queue}, priority {row.priority}",
        "owner": row.owner or "-",
        "arguments": json.dumps(row.arguments),
        "enqueued": when(row.created_at),
        "started": when(row.started_at),
        "due": when(row.due_at),
        "finished": when(row.finished_at),
        "attempts": f"{len(row.worker_ids)} ({row.attempts} failures and lost leases, {row.lost_leases} of them lost)",
        "worker": row.worker or "-",
    }
    if row.phase == "succeeded":
        lines["result"] = json.dumps(row.result)
    if row.cancel_requested_at:
        lines["cancelled"] = f"{when(row.cancel_requested_at)} by {row.cancelled_by or 'somebody'}"
    progress = Progress.objects.filter(pk=row.id).first()
    if progress:
        total = "" if progress.total is None else f" of {progress.total:g}"
        lines["progress"] = f"{progress.current:g}{total} {progress.message}".rstrip()
    for name, value in lines.items():
        print(f"{name:<10} {value}")
    _tables(row.id)
    for number, error in enumerate(row.errors, start=1):
        print(f"\nerror {number}: {error['exception_class_path']}\n{error['traceback'].rstrip()}")


def _tables(id_: UUID) -> None:
    """Print what is kept beside the row: steps, signals, children, events."""
    from tandem.ledger.models import Event, Execution, Signal, Step  # noqa: PLC0415  # models need the apps loaded

    steps = Step.objects.filter(execution_id=id_).order_by("position")
    if steps:
        print()
        print_table(
            ("step", "kind", "started", "seconds", "attempt's worker", "result"),
            [
                (
                    f"{step.name}#{step.occurrence}" if step.occurrence else step.name,
                    step.kind,
                    when(step.started_at),
                    "-" if step.finished_at is None else f"{(step.finished_at - step.started_at).total_seconds():.3f}",
                    step.worker,
                    _short(json.dumps(step.result)),
                )
                for step in steps
            ],
        )
    signals = Signal.objects.filter(execution_id=id_).order_by("id")
    if signals:
        print()
        print_table(
            ("signal", "sent", "by", "consumed", "payload"),
            [
                (
                    item.name,
                    when(item.sent_at),
                    item.sent_by or "-",
                    when(item.consumed_at),
                    _short(json.dumps(item.payload)),
                )
                for item in signals
            ],
        )
    children = Execution.objects.filter(parent=id_).order_by("created_at", "id")
    if children:
        print()
        print_table(("child", "task", "engine", "phase"), [(str(c.id), c.task, c.engine, c.phase) for c in children])
    events = Event.objects.filter(execution_id=id_).order_by("id")
    if events:
        print()
        print_table(("at", "event", "why"), [(when(item.at), item.kind, item.detail) for item in events])


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004  # a table's width
