"""Many short executions on both engines, and what is left afterwards: `python -m tests.chaos.soak`, `make soak`.

It is sound where all are done, no process has grown, and no lease, pending cancellation, key or thread is left. Resident memory is
judged by medians: that of the last quarter of a process's samples must not be above that of the second by more than
a twentieth. Threads are judged at the end, against the most in the second quarter (and two). The first quarter is left out:
caches and pools fill, and connections open.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from tests.chaos.soak_samples import Samples, threads
from tests.chaos.system import System, running_system
from tests.chaos.waiting import until

__all__ = ["main"]

ENGINES: Final = ("celery", "restate")

_BATCH: Final = 100
# Each execution in flight holds a stream of the service: more of them would fill its memory for longer than a quarter.
_IN_FLIGHT: Final = 400
# Pools have a bound but start their threads when chance wants one more: a leak would be of thousands.
_POOL_THREADS: Final = 2
_WARM: Final = 1_200
_PATIENCE_SECONDS: Final = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """What is left of something that must not be left at all, and examples of it."""

    what: str
    items: Sequence[object]

    def __str__(self) -> str:
        examples = ", ".join(str(item) for item in self.items[:5])
        return f"{self.what:<34}{len(self.items):>8,}  {examples}".rstrip()


def main() -> int:
    """Run; 0 where nothing has grown and nothing is left."""
    arguments = _arguments()
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tandem-soak-")))
        folder.mkdir(parents=True, exist_ok=arguments.folder is None)
        # Servers that give up root's rights must be able to pass.
        folder.chmod(0o755)
        system = stack.enter_context(running_system(folder, lease=15.0))
        system.overrides |= {"DJANGO_SETTINGS_MODULE": "tests.chaos.soak_settings", "TANDEM_TEST_EFFECTS": os.devnull}
        return 0 if _soak(system, arguments.executions) else 1


def _soak(system: System, executions: int) -> bool:
    os.environ.update(system.environment())
    logging.basicConfig(filename=system.folder / "soak.log")
    import django  # noqa: PLC0415  # the settings are read from the environment that was just set

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    system.launch()
    _say("Warming up.")
    _run(_WARM)
    _say(f"{executions:,} executions, by turns on Celery and Restate, at most {_IN_FLIGHT:,} of them unfinished.")
    began = time.monotonic()
    with Samples(processes=system.processes) as samples:
        _run(executions)
    seconds = time.monotonic() - began
    _say(f"Done in {seconds:.0f} s: {executions / seconds:.0f} a second.\n")
    flat = _report_memory(samples)
    left = [*_left_in_ledger(executions + _WARM), *_left_in_redis(), _left_threads(system, samples)]
    _say(f"\n{'left at the end':<34}{'count':>8}")
    for item in left:
        _say(str(item))
    sound = flat and not any(item.items for item in left)
    _say("\nNothing has grown, and nothing is left." if sound else "\nNOT SOUND: see above.")
    return sound


def _run(executions: int) -> None:
    """Enqueue so many in batches, as fast as they are done, and wait for the last."""
    kinds = cycle(_kinds())
    for start in range(0, executions, _BATCH):
        until(lambda: _unfinished() < _IN_FLIGHT, "executions are done", seconds=_PATIENCE_SECONDS)
        task, call = next(kinds)
        task.enqueue_many([call] * min(_BATCH, executions - start))
    until(lambda: not _unfinished(), "all are done", seconds=_PATIENCE_SECONDS)


def _kinds() -> Iterator[Any]:
    """Short tasks of each kind on each engine, with their arguments; mostly plain ones, as loads are."""
    from tests.work import tasks  # noqa: PLC0415  # after django.setup()

    plain: tuple[Any, Any] = ((), {})
    stepped: tuple[Any, Any] = (("soak",), {})
    for task, call in (
        (tasks.noop, plain),
        (tasks.noop_async, plain),
        (tasks.greet, stepped),
        (tasks.noop, plain),
        (tasks.add, ((1,), {})),
        (tasks.steps, stepped),
    ):
        for engine in ENGINES:
            yield task.using(engine=engine), call


def _unfinished() -> int:
    from tandem.ledger.models import Execution  # noqa: PLC0415  # after django.setup()

    return Execution.objects.filter(outcome__isnull=True).count()


def _settled_threads(system: System) -> dict[str, int]:
    """How many threads processes have once two counts in a row are the same."""
    counts = [threads(system.processes)]

    def settled() -> bool:
        time.sleep(2)
        counts.append(threads(system.processes))
        return counts[-1] == counts[-2]

    until(settled, "the number of threads is steady")
    return counts[-1]


def _report_memory(samples: Samples) -> bool:
    """Print the table; whether every process stayed as large as it was."""
    memory = samples.memory()
    _say(f"{'resident memory, MiB (medians)':<34}{'2nd quarter':>12}{'3rd':>9}{'last':>9}{'growth':>9}")
    for item in memory:
        verdict = "" if item.is_flat else "  GROWS"
        _say(f"{item.name:<34}{item.second:>12.1f}{item.third:>9.1f}{item.last:>9.1f}{item.growth:>9.1%}{verdict}")
    return bool(memory) and all(item.is_flat for item in memory)


def _left_in_ledger(executions: int) -> Iterator[Left]:
    from tandem.ledger.models import Execution, PendingCancellation, Signal  # noqa: PLC0415  # after django.setup()

    ended = Execution.objects.filter(phase="succeeded")
    rows = Execution.objects.exclude(pk__in=ended.values("pk")).values_list("task", "phase")
    yield Left(what="executions that did not succeed", items=list(rows))
    yield Left(what="executions that are missing", items=range(executions - ended.count()))
    yield Left(what="attempts beyond the first", items=list(ended.exclude(attempts=0).values_list("task", "attempts")))
    yield Left(what="leases", items=list(Execution.objects.filter(lease_expires_at__isnull=False).values_list("id")))
    yield Left(what="pending cancellations", items=list(PendingCancellation.objects.values_list("execution_id")))
    yield Left(what="signals", items=list(Signal.objects.filter(consumed_at__isnull=True).values_list("name")))


def _left_in_redis() -> Iterator[Left]:
    import redis  # noqa: PLC0415  # only here

    from tandem.engines.celery.lost import _RUN_KEY as RUN_KEY  # noqa: PLC0415  # after django.setup()
    from tandem.engines.celery.lost import EPOCH_KEY  # noqa: PLC0415  # after django.setup()

    with redis.Redis.from_url(os.environ["TANDEM_BROKER_URL"], decode_responses=True) as client:
        keys = sorted(client.scan_iter(count=1_000))
    # Kombu's bindings name the queues that workers have, and the epoch has the server's run beside it: neither grows.
    ours = [key for key in keys if not key.startswith(("_kombu.binding", EPOCH_KEY, RUN_KEY))]
    yield Left(what="keys in Redis", items=ours)


def _left_threads(system: System, samples: Samples) -> Left:
    most, after = samples.most_threads(), _settled_threads(system)
    allowed = {name: most.get(name, 0) + _POOL_THREADS for name in after}
    more = [f"{name}: {most.get(name)} -> {count}" for name, count in after.items() if count > allowed[name]]
    return Left(what="processes with more threads", items=more)


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak ARGS=...", description=__doc__)
    parser.add_argument("--executions", type=int, default=5_000, metavar="N", help="in all (default: 5000)")
    parser.add_argument("--folder", type=Path, metavar="PATH", help="keep data and logs in this new folder")
    return parser.parse_args(given)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
