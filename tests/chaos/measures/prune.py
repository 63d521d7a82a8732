"""Pruning beside a full load: what it costs the load, how long its batches take, and that it leaves what it must.

The load is one of plain tasks on both engines, as fast as they are done. Old finished rows with steps are pruned in
parts, by the loop of `tandem prune`; before and after each part comes a time without, as long as the part took.
"""

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final, Self

from django.db import connection

from tandem.ledger import connection as ledger
from tandem.ledger.models import Execution, Step
from tandem.ledger.operating import pruning
from tests.chaos.load import ENGINES
from tests.chaos.system import System
from tests.chaos.tasks import quick
from tests.chaos.waiting import until

__all__ = ["measure"]

_PARTS: Final = 5
_ROWS: Final = 40_000
_STEPS: Final = 4
_UNFINISHED: Final = 1_000
_BATCH: Final = 1_000
_FED: Final = 100
_IN_FLIGHT: Final = 400
_WARM_SECONDS: Final = 15.0

# Part by part older: what is pruned first is the oldest.
_OLD: Final = """
INSERT INTO tandem_execution (id, task, queue, arguments, engine, reason, owner, phase, outcome, result, created_at,
                              sent_at, started_at, last_attempted_at, finished_at, fence, worker, worker_ids)
SELECT gen_random_uuid(), 'tests.chaos.tasks.quick', 'default', '{"args": [1], "kwargs": {}}',
       CASE mod(number, 2) WHEN 0 THEN 'celery' ELSE 'restate' END, 'default', %(owner)s, %(phase)s::text, %(outcome)s::text, '1',
       age.at, age.at, age.at, age.at, CASE WHEN %(outcome)s::text IS NOT NULL THEN age.at END, 1, 'old', '["old"]'
FROM generate_series(1, %(rows)s) AS number,
     LATERAL (SELECT now() - %(days)s * interval '1 day' - number * interval '0.1 second' AS at) AS age
"""

_OLD_STEPS: Final = """
INSERT INTO tandem_step (execution_id, name, occurrence, position, kind, result, started_at, finished_at, fence, worker)
SELECT id, 'step-' || position, 1, position, 'step', '"done"', created_at, created_at, 1, 'old'
FROM tandem_execution, generate_series(1, %(steps)s) AS position
WHERE owner IN ('old', 'unfinished')
"""


def measure(system: System, say: Callable[[str], None]) -> None:
    """Print the load's rate beside each part and without, the batches' times, and what is left."""
    _make_old()
    say(f"{_PARTS * _ROWS:,} old finished rows and {_UNFINISHED:,} unfinished ones, each with {_STEPS} steps.")
    system.launch()
    batches: list[float] = []
    ratios: list[float] = []
    with _Feed() as feed:
        # Caches fill and connections open: this is left out.
        time.sleep(_WARM_SECONDS)
        say(f"\n{'part':<6}{'rows':>8}{'s':>7}{'rows/s':>9}{'tasks/s without':>18}{'with prune':>12}{'ratio':>8}")
        before = _rate(_window(5.0))
        for part in range(_PARTS):
            days = _days(part) - 0.5
            began, started, deleted = _now(), time.monotonic(), 0
            while count := _prune(days, batches):
                deleted += count
            took = time.monotonic() - started
            beside = _rate((began, _now()))
            after = _rate(_window(took))
            without = (before + after) / 2
            ratios.append(beside / without)
            say(
                f"{part + 1:<6}{deleted:>8,}{took:>7.1f}{deleted / took:>9,.0f}{without:>18,.0f}{beside:>12,.0f}"
                f"{ratios[-1]:>8.2f}"
            )
            before = after
    say(
        f"\nThe load's rate beside a prune is {statistics.median(ratios):.2f} of its rate without (median of {_PARTS})."
        f"\n{len(batches)} batches of {_BATCH:,}: median {1e3 * statistics.median(batches):.0f} ms, longest"
        f" {1e3 * max(batches):.0f} ms."
    )
    rows = Execution.objects
    unfinished = rows.filter(owner="unfinished")
    steps = Step.objects.filter(execution__in=unfinished).count()
    succeeded = rows.filter(owner="load", phase="succeeded").count()
    say(
        f"Left: {rows.filter(owner='old').count():,} old finished rows, {unfinished.count():,} unfinished ones with"
        f" {steps:,} steps, {Step.objects.count() - steps:,} steps of others; {succeeded:,} of {feed.enqueued:,} tasks of"
        " the load succeeded and are there."
    )


def _make_old() -> None:
    old: dict[str, Any]
    with connection.cursor() as cursor:
        for part in range(_PARTS):
            old = {"owner": "old", "phase": "succeeded", "outcome": "succeeded", "rows": _ROWS, "days": _days(part)}
            cursor.execute(_OLD, old)
        old = {"owner": "unfinished", "phase": "parked", "outcome": None, "rows": _UNFINISHED, "days": _days(0)}
        cursor.execute(_OLD, old)
        cursor.execute(_OLD_STEPS, {"steps": _STEPS})
        cursor.execute("VACUUM ANALYZE")


def _days(part: int) -> float:
    return 100.0 - part


def _prune(days: float, batches: list[float]) -> int:
    started = time.monotonic()
    deleted = ledger.execute(pruning.prune(days=days, limit=_BATCH))
    if deleted:
        batches.append(time.monotonic() - started)
    return deleted


def _now() -> float:
    return time.time()


def _window(seconds: float) -> tuple[float, float]:
    began = _now()
    time.sleep(seconds)
    return began, _now()


def _rate(window: tuple[float, float]) -> float:
    """Tasks of the load a second that finished in a window; the machine's clock is the database's too."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM tandem_execution WHERE owner = 'load' AND finished_at >= to_timestamp(%s)"
            " AND finished_at < to_timestamp(%s)",
            list(window),
        )
        return float(cursor.fetchone()[0]) / (window[1] - window[0])


@dataclass(slots=True, kw_only=True)
class _Feed:
    """Keeps both engines fed while the block lasts, and waits for the last task when it is left."""

    enqueued: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _failures: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self._failures:
            raise RuntimeError("The load came to a stop.") from self._failures[0]
        until(lambda: not any(map(_unfinished, ENGINES)), "the load is done", seconds=120)

    def _run(self) -> None:
        try:
            for engine in cycle(ENGINES):
                if self._over.is_set():
                    return
                if _unfinished(engine) <= _IN_FLIGHT - _FED:
                    quick.using(engine=engine, owner="load").enqueue_many([((number,), {}) for number in range(_FED)])
                    self.enqueued += _FED
                else:
                    self._over.wait(0.01)
        except BaseException as error:  # noqa: BLE001  # raised where the block is left
            self._failures.append(error)
        finally:
            connection.close()


def _unfinished(engine: str) -> int:
    return Execution.objects.filter(outcome__isnull=True, engine=engine, owner="load").count()
