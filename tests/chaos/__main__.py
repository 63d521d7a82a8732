"""`python -m tests.chaos`: the short form; `--executions 1000 --pause 30 --lease 15` is a long one."""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.chaos.system import System, running_system

__all__ = ["main"]

_PACE: Final = 8.0


def main() -> int:
    """Run; 0 where every count that must be 0 is."""
    arguments = _arguments()
    began = time.monotonic()
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tandem-chaos-")))
        folder.mkdir(parents=True, exist_ok=arguments.folder is None)
        # Servers that give up root's rights must be able to pass.
        folder.chmod(0o755)
        _say("Starting PostgreSQL, Redis and Restate.")
        system = stack.enter_context(running_system(folder, lease=arguments.lease))
        sound = _run(system, arguments)
    _say(f"{time.monotonic() - began:.0f} s in all.")
    return 0 if sound else 1


def _run(system: System, arguments: argparse.Namespace) -> bool:
    # The harness is a Django project too, whose settings are read from the environment.
    os.environ.update(system.environment())
    logging.basicConfig(filename=system.folder / "load.log")
    import django  # noqa: PLC0415

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    from tests.chaos import evidence, report  # noqa: PLC0415
    from tests.chaos.faults import FAULTS  # noqa: PLC0415
    from tests.chaos.run import Size, run  # noqa: PLC0415

    known = {fault.name: fault for fault in FAULTS}
    names = arguments.only or list(known)
    if unknown := [name for name in names if name not in known]:
        _say(f"No fault {', '.join(unknown)}. Faults: {', '.join(known)}.")
        return False
    call_command("migrate", verbosity=0)
    evidence.instrument()
    system.launch()
    size = Size(executions=arguments.executions, pace=arguments.pace, pause=arguments.pause)
    _say(
        f"{size.executions:,} executions for each fault and engine at {size.pace:g} a second: plain tasks, stepped"
        " tasks and atomic steps, sync and async, workflows that sleep or wait for a signal, parents that call one"
        f" child or gather three.\nLEASE_SECONDS is {arguments.lease:g} (15 by default); what is frozen or cut stays"
        f" so for {size.pause:g} s."
    )
    for text in report.heading():
        _say(text)
    results = run(system, [known[name] for name in names], size, _say)
    _say("")
    _say(report.verdict(results))
    return all(result.is_sound for result in results)


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=...", description=__doc__)
    parser.add_argument(
        "--executions", type=int, default=40, metavar="N", help="at least, for each fault and engine (default: 40)"
    )
    parser.add_argument("--pace", type=float, default=_PACE, metavar="N", help=f"a second and engine ({_PACE:g})")
    parser.add_argument("--lease", type=float, default=3.0, metavar="SECONDS", help="LEASE_SECONDS (default: 3)")
    parser.add_argument("--pause", type=float, default=5.0, metavar="SECONDS", help="of freezes and cuts (default: 5)")
    parser.add_argument("--only", type=_names, metavar="A,B", help="these faults, in this order")
    parser.add_argument("--folder", type=Path, metavar="PATH", help="keep data and logs in this new folder")
    return parser.parse_args(given)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
