"""`python -m project.load`: a steady load on both engines and on the site, and what became of every piece of it.

Prints one line of JSON: `enqueued`, and of those `lost` (not over in time), `failed`, `stale` (the accepted result is
of another pod than the last claim of it), `again` (more than one attempt); `requests` to the site
and those that were answered 5xx or not at all (`refused`).
"""

import argparse
import collections
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import django

__all__ = ["Figures", "main"]

ENGINES = ("celery", "restate")
WORKFLOW_EVERY = 5
REQUEST_SECONDS = 10
REQUESTS_A_SECOND = 10
FINISH_SECONDS = 180


@dataclass(kw_only=True)
class Figures:
    """What is printed."""

    enqueued: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENGINES, 0))
    workflows: int = 0
    refused_tasks: int = 0
    lost: int = 0
    failed: int = 0
    stale: int = 0
    again: int = 0
    requests: int = 0
    refused: int = 0
    reasons: list[str] = field(default_factory=list)


def main() -> int:
    """Load for so many seconds, wait until all is over, print."""
    parser = argparse.ArgumentParser(prog="python -m project.load", description=__doc__)
    parser.add_argument("--rate", type=float, default=20.0, help="executions a second (20)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--sleep", type=float, default=10.0, help="seconds between a workflow's two steps (10)")
    parser.add_argument("--site", required=True, help="the site's URL")
    options = parser.parse_args()
    django.setup()
    figures, ids = Figures(), list[UUID]()
    stop = threading.Event()
    asking = threading.Thread(target=ask, args=(options.site, figures, stop))
    asking.start()
    enqueue(options, figures, ids)
    count(figures, ids)
    stop.set()
    asking.join()
    print(json.dumps(asdict(figures)), flush=True)
    return 0


def enqueue(options: argparse.Namespace, figures: Figures, ids: list[UUID]) -> None:
    """Enqueue on each engine in turn, one in five a workflow, at a steady rate."""
    from project.work.tasks import plain, stepped  # noqa: PLC0415  # the apps are loaded now

    started = time.monotonic()
    number = 0
    while (now := time.monotonic()) < started + options.seconds:
        due = started + number / options.rate
        if due > now:
            time.sleep(due - now)
        engine = ENGINES[number % len(ENGINES)]
        number += 1
        try:
            if number // len(ENGINES) % WORKFLOW_EVERY == 0:
                result = stepped.using(engine=engine).enqueue(number, options.sleep)
                figures.workflows += 1
            else:
                result = plain.using(engine=engine).enqueue(number)
        except Exception as error:  # noqa: BLE001  # every refusal is counted, with its words
            figures.refused_tasks += 1
            note(figures, f"enqueue: {error!r}")
            continue
        ids.append(UUID(result.id))
        figures.enqueued[engine] += 1


def ask(site: str, figures: Figures, stop: threading.Event) -> None:
    """Open a page ten times a second, each time by a connection of its own."""
    while not stop.wait(1 / REQUESTS_A_SECOND):
        figures.requests += 1
        try:
            with urllib.request.urlopen(site, timeout=REQUEST_SECONDS) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                figures.refused += 1
                note(figures, f"GET {site}: {error.code}")
        except OSError as error:
            figures.refused += 1
            note(figures, f"GET {site}: {error}")


def count(figures: Figures, ids: list[UUID]) -> None:
    """Wait until all is over, and compare each row with what it was asked for."""
    from tandem.ledger.models import Execution  # noqa: PLC0415  # the apps are loaded now

    rows = Execution.objects.using("default").filter(id__in=ids)
    deadline = time.monotonic() + FINISH_SECONDS
    while rows.filter(outcome__isnull=True).exists() and time.monotonic() < deadline:
        time.sleep(1)
    found: dict[UUID, Any] = {row.id: row for row in rows}
    phases = collections.Counter(row.phase for row in found.values())
    figures.lost = len(ids) - sum(row.outcome is not None for row in found.values())
    figures.failed = sum(row.outcome is not None and row.phase != "succeeded" for row in found.values())
    for row in found.values():
        if row.phase == "succeeded":
            figures.stale += row.result["pod"] != row.worker.partition(":")[0]
            figures.again += row.attempts > 0
    if figures.lost or figures.failed:
        note(figures, f"phases: {dict(phases)}")
        unhappy = [row for row in found.values() if row.phase != "succeeded"][:5]
        for row in unhappy:
            note(figures, f"{row.id} {row.task} {row.engine} {row.phase} {row.errors[-1:]}")


def note(figures: Figures, reason: str) -> None:
    """Keep the first reasons."""
    if len(figures.reasons) < 10:
        figures.reasons.append(reason[:500])


if __name__ == "__main__":
    sys.exit(main())
