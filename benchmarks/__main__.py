"""`python -m benchmarks`: one paired run, its table, and `benchmarks/latest.json`."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, Final

from benchmarks.catalogue import CONTENDERS
from benchmarks.contender import Contender
from benchmarks.environment import ROOT, Environment

__all__ = ["arguments_of", "main", "run"]

LATEST: Final = Path(__file__).with_name("latest.json")

PLOTS: Final = Path(__file__).with_name("plots")

_QUICK: Final = {"repeats": 1, "single": 100, "bulk": 500, "idle": 30, "stepped": 50, "workflow": 10}

_NEEDED: Final = (
    *("celery", "dbos", "django_celery_results", "django_tasks_db", "dramatiq", "huey", "matplotlib", "procrastinate"),
    *("psutil", "restate", "rq", "tandem"),
)


def main() -> int:
    """Run; 0 where every task ran once, 1 where not."""
    arguments = arguments_of()
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        print(
            f"The benchmark needs {', '.join(missing)}: run it with `make bench`, or uv run --group bench.",
            file=sys.stderr,
        )
        return 2
    # What was started is stopped on the way out of this one too.
    signal.signal(signal.SIGTERM, _interrupted)
    report = run(arguments)
    LATEST.write_text(json.dumps(report, indent=1) + "\n")
    from benchmarks.report import lines  # noqa: PLC0415  # as in run()

    print()
    for line in lines(report):
        print(line)
    print(f"Every repeat is in {LATEST.relative_to(ROOT)}.")
    if arguments.plot:
        from benchmarks.plots import draw  # noqa: PLC0415  # as above

        drawn = draw(report, PLOTS)
        print(f"{len(drawn)} pictures are in {PLOTS.relative_to(ROOT)}/.")
    return 1 if report["faults"] else 0


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start the servers, measure every contender in turn, again and again, and put it all together."""
    # Only now is it known that what they import is installed.
    from benchmarks import machine, release, report, servers  # noqa: PLC0415
    from benchmarks.measurement import Counts, Runner  # noqa: PLC0415

    began = time.monotonic()
    counts = Counts(**{count.name: getattr(arguments, count.name) for count in fields(Counts)})
    chosen = {name: contender for name, contender in CONTENDERS.items() if name in arguments.only}
    found: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine.describe()}
    # Not in the system's folder for temporary files, which may be in memory, where an fsync costs nothing.
    home = ROOT / ".tandem"
    home.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-", dir=home)))
        found["disk"] = machine.disk(folder)
        logs = folder / "logs"
        logs.mkdir()
        running = stack.enter_context(servers.run_servers(folder / "servers"))
        environments = servers.environments(running, {name: item.redis_database for name, item in chosen.items()})
        found["durability"] = servers.durability(environments[next(iter(chosen))])
        runners = []
        for name, contender in chosen.items():
            _say(f"preparing {contender.title}", began)
            environment = environments[name]
            _migrate(contender, environment, logs)
            if contender.is_release:
                environment = replace(environment, source=str(release.tree(folder / "release") / "src"))
            runner = Runner(
                contender=contender,
                environment=environment,
                counts=counts.of(contender),
                folder=logs,
                say=print,
                servers=lambda: servers.pids(running),
            )
            stack.callback(runner.close)
            runner.prepare(rehearse=arguments.repeats > 1)
            runners.append(runner)
        repeats: list[dict[str, Any]] = []
        for number in range(1, arguments.repeats + 1):
            repeats.append({})
            for runner in runners:
                _say(f"repeat {number} of {arguments.repeats}: {runner.contender.title}", began)
                repeats[-1][runner.contender.name] = runner.run()
    return {
        **found,
        "seconds": round(time.monotonic() - began, 1),
        "servers": servers.versions(),
        "packages": machine.packages(),
        "settings": {"counts": asdict(counts), "contenders": list(chosen)},
        "repeats": repeats,
        "summary": report.summary(repeats),
        "aims": report.aims(repeats),
        "faults": report.faults(repeats),
    }


def arguments_of(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line says; exits where it cannot be read."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--repeats", type=_count, default=3, metavar="N", help="interleaved repeats (default: 3)")
    parser.add_argument("--only", type=_names, default=list(CONTENDERS), metavar="A,B", help=", ".join(CONTENDERS))
    parser.add_argument("--single", type=_count, default=1_000, metavar="N", help="single enqueues (default: 1000)")
    parser.add_argument("--bulk", type=_count, default=5_000, metavar="N", help="tasks in bulk (default: 5000)")
    parser.add_argument("--idle", type=_count, default=200, metavar="N", help="tasks one at a time (default: 200)")
    parser.add_argument("--stepped", type=_count, default=500, metavar="N", help="of 3 steps each (default: 500)")
    parser.add_argument("--workflow", type=_count, default=100, metavar="N", help="workflows (default: 100)")
    parser.add_argument("--plot", action="store_true", help=f"draw each figure into {PLOTS.relative_to(ROOT)}/, as SVG")
    parser.add_argument(
        "--quick", action="store_true", help="few tasks, one repeat: says whether it works, not how fast"
    )
    arguments = parser.parse_args(given)
    if arguments.quick:
        vars(arguments).update(_QUICK)
    return arguments


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in CONTENDERS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or text!r} is none of {', '.join(CONTENDERS)}")
    return names


def _migrate(contender: Contender, environment: Environment, logs: Path) -> None:
    if contender.migration is None:
        return
    log = logs / f"{contender.name}-migration.log"
    with log.open("wb") as output:
        done = subprocess.run(
            contender.migration(environment),
            env=environment.variables(),
            cwd=ROOT,
            check=False,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if done.returncode != 0:
        raise RuntimeError(f"{done.args} ended with {done.returncode}:\n{log.read_text(errors='replace')}")


def _say(text: str, began: float) -> None:
    print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True)


def _interrupted(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
