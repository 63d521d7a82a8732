"""100,000 queued tasks that wait their turn for longer than two leases, and a FLUSHALL of them."""

import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

import redis
from django.utils import timezone

from tandem.engines.celery.message import id_of
from tandem.ledger.models import Event, Execution
from tests.chaos.system import System
from tests.chaos.tasks import long, quick
from tests.chaos.waiting import until

__all__ = ["measure"]

_TASKS: Final = 100_000
_CHILDREN: Final = 2
_STEPS: Final = 3_000
_LEASES: Final = 2.5
_PATIENCE_SECONDS: Final = 300.0

_COMMANDS: Final = {"relay": ("relay",), "worker": ("worker", "--concurrency", str(_CHILDREN))}


def measure(system: System, say: Callable[[str], None]) -> None:
    """Print how many references were sent again, first with no worker, then with one that is busy, then after a FLUSHALL."""
    system.launch({"relay": _COMMANDS["relay"]})
    began = timezone.now()
    results = quick.using(engine="celery", owner="backlog").enqueue_many([((number,), {}) for number in range(_TASKS)])
    sent = timezone.now()
    say(f"{len(results):,} tasks enqueued in {(sent - began).total_seconds():.1f} s.")
    say(f"\n{'':<52}{'sent again':>12}{'in lists':>10}{'distinct':>10}{'twice':>7}{'prefetched':>12}")
    _wait(system)
    _report("no worker", since=sent, say=say)
    busy = [long.using(engine="celery", owner="busy", priority=100).enqueue(_STEPS) for _ in range(_CHILDREN)]
    system.launch({"worker": _COMMANDS["worker"]})
    running = Execution.objects.filter(pk__in=[result.id for result in busy], phase="running")
    until(lambda: running.count() == _CHILDREN, "every child of the worker is busy")
    began = timezone.now()
    _wait(system)
    _report("a worker whose children are busy", since=began, say=say)
    with _redis() as client:
        flushed = timezone.now()
        client.flushall()
    again = Execution.objects.filter(owner="backlog", sent_at__gte=flushed)
    queued = Execution.objects.filter(owner="backlog", phase="queued").count()
    until(lambda: again.count() >= queued, "each is sent again", seconds=_PATIENCE_SECONDS)
    took = (timezone.now() - flushed).total_seconds()
    _report(f"FLUSHALL, after {took:.1f} s", since=flushed, say=say)
    # Whoever counts before the last batch is on its list counts too few.
    _wait(system)
    _report("the same, two and a half leases later", since=flushed, say=say)
    rows = Execution.objects.filter(owner="backlog")
    say(
        f"\n{rows.count():,} rows: {dict(Counter(rows.values_list('phase', flat=True)))}, highest fence"
        f" {max(rows.values_list('fence', flat=True))}, lost leases {sum(rows.values_list('lost_leases', flat=True))}, events"
        f" {Event.objects.filter(execution__owner='backlog').count()}."
    )


def _wait(system: System) -> None:
    """For longer than two leases: it is this time that is measured."""
    time.sleep(_LEASES * system.lease)


def _report(title: str, *, since: datetime, say: Callable[[str], None]) -> None:
    mine = set(Execution.objects.filter(owner="backlog", phase="queued").values_list("pk", flat=True))
    counts = Counter(id_ for id_ in _entries() if id_ in mine)
    again = Execution.objects.filter(owner="backlog", sent_at__gte=since).count()
    twice = sum(times > 1 for times in counts.values())
    say(f"{title:<52}{again:>12,}{counts.total():>10,}{len(counts):>10,}{twice:>7,}{len(mine - counts.keys()):>12,}")


def _entries() -> list[UUID | None]:
    """What stands on the lists; what a worker has prefetched is on none."""
    with _redis() as client:
        keys = sorted(client.scan_iter("default*", _type="list"))
        return [id_of(message) for key in keys for message in client.lrange(key, 0, -1)]


def _redis() -> "redis.Redis":
    return redis.Redis.from_url(os.environ["TANDEM_BROKER_URL"], socket_timeout=30)
