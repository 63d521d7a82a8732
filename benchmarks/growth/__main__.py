"""`python -m benchmarks.growth`: what each statement costs PostgreSQL, at each power of ten of executions."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, Final

from benchmarks.environment import ROOT, Environment

__all__ = ["main"]

LATEST: Final = ROOT / "benchmarks" / "growth.json"

_BYTES_A_ROW: Final = 2_000
_BYTES_BESIDE: Final = 4_000_000_000


def main() -> int:
    """Measure and print; 0 where the largest ledger is as it must be, 1 where it is not."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupted)
    report = run(arguments)
    arguments.report.write_text(json.dumps(report, indent=1) + "\n")
    from benchmarks.growth.report import lines  # noqa: PLC0415  # it needs Django

    print()
    for line in lines(report):
        print(line)
    print(f"All of it is in {arguments.report}.")
    return 0 if all(aim["met"] for aim in report["aims"]) else 1


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start the servers, and measure one ledger after the other."""
    from benchmarks import machine, servers  # noqa: PLC0415  # what they import is an extra of the distribution

    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:7.1f} s] {text}", flush=True)

    home = ROOT / ".tandem"
    home.mkdir(exist_ok=True)
    _check_room(home, arguments.to)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="growth-", dir=home)))
        running = stack.enter_context(servers.run_servers(folder))
        (environment,) = servers.environments(running, {"tandem-celery": 1}).values()
        os.environ.update(environment.variables())
        import django  # noqa: PLC0415  # the settings read the environment

        django.setup()
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--verbosity", "0"],
            env=environment.variables(), cwd=ROOT, check=True,
        )  # fmt: skip
        levels = []
        size = arguments.first
        while size <= arguments.to:
            levels.append(_level(environment, size, arguments, say))
            size *= 10
    from benchmarks.growth.report import aims  # noqa: PLC0415  # it needs Django

    return {
        "machine": machine.describe(),
        "seconds": round(time.monotonic() - began, 1),
        "servers": servers.versions(),
        "levels": levels,
        "aims": aims(levels[-1]),
    }


def _level(environment: Environment, size: int, arguments: argparse.Namespace, say: Any) -> dict[str, Any]:
    """Measure one size in a database of its own, which goes afterwards."""
    import psycopg  # noqa: PLC0415  # as in run()
    import redis  # noqa: PLC0415  # as above

    from benchmarks.growth.level import EMPTY, Level, ledger_in  # noqa: PLC0415  # it needs Django
    from tandem.configuration import ledger_configuration  # noqa: PLC0415  # as above
    from tandem.engines.celery.engine import CeleryEngine  # noqa: PLC0415  # as above

    name = f"growth_{size}"
    say(f"--- {size:,} ---")
    with redis.Redis.from_url(environment.redis_url) as broker:
        broker.flushdb()
    where = {**environment.connection(), "dbname": "postgres"}
    with psycopg.connect(**where, autocommit=True) as first:
        # What it does is done here at known moments.
        for setting in ("autovacuum = off", "max_wal_size = '4GB'", "checkpoint_timeout = '1h'"):
            first.execute(f"ALTER SYSTEM SET {setting}".encode())
        first.execute(b"SELECT pg_reload_conf()")
        first.execute(f"CREATE DATABASE {name} TEMPLATE {EMPTY}".encode())
    with psycopg.connect(**{**where, "dbname": name}, autocommit=True) as administrator, ledger_in(name):
        administrator.execute(b"SET synchronous_commit = off")
        configuration = ledger_configuration()
        level = Level(
            name=name,
            size=size,
            waiting=min(arguments.waiting, size),
            executions=arguments.executions,
            administrator=administrator,
            configuration=configuration,
            engine=lambda: CeleryEngine(configuration),
            say=say,
        )
        level.run()
    with psycopg.connect(**where, autocommit=True) as last:
        last.execute(f"DROP DATABASE {name}".encode())
    return {
        "size": size,
        "waiting": level.waiting,
        "found": {
            title: {place: asdict(spread) for place, spread in places.items()} for title, places in level.found.items()
        },
        "sizes": level.sizes,
    }


def _check_room(folder: Path, size: int) -> None:
    free, needed = shutil.disk_usage(folder).free, size * _BYTES_A_ROW + _BYTES_BESIDE
    if free < needed:
        raise SystemExit(
            f"{size:,} executions need {needed / 1e9:,.0f} GB in {folder}, where {free / 1e9:,.0f} GB are free."
        )


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make growth ARGS=...", description=__doc__)
    parser.add_argument(
        "--from", dest="first", type=_count, default=10_000, metavar="N", help="the smallest (default: 10000)"
    )
    parser.add_argument("--to", type=_count, default=10_000_000, metavar="N", help="the largest (default: 10000000)")
    parser.add_argument(
        "--waiting", type=_count, default=100_000, metavar="N", help="not over, beside (default: 100000)"
    )
    parser.add_argument("--executions", type=_count, default=60, metavar="N", help="measured, five times (default: 60)")
    parser.add_argument("--report", type=Path, default=LATEST, metavar="FILE", help="all figures, as JSON")
    arguments = parser.parse_args(given)
    arguments.first = min(arguments.first, arguments.to)
    return arguments


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _interrupted(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
