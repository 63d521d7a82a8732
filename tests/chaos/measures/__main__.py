"""Measure on real servers, and print: `python -m tests.chaos.measures gil`, or `backlog`, or `prune`.

`gil` takes about 7 minutes, `backlog` 3, `prune` 2. `--folder PATH` keeps data and logs.
"""

import argparse
import importlib
import logging
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.chaos import log
from tests.chaos.system import running_system

__all__ = ["main"]

_MEASURES: Final = ("gil", "backlog", "prune")
_LEASE_SECONDS: Final = 15.0


def main() -> None:
    """Run what was asked for, on servers of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.measures", description=__doc__)
    parser.add_argument("measure", choices=_MEASURES)
    parser.add_argument("--folder", type=Path, metavar="PATH", help="keep data and logs in this new folder")
    arguments = parser.parse_args()
    began = time.monotonic()
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tandem-measures-")))
        folder.mkdir(parents=True, exist_ok=arguments.folder is None)
        # Servers that give up root's rights must be able to pass.
        folder.chmod(0o755)
        system = stack.enter_context(running_system(folder, lease=_LEASE_SECONDS))
        os.environ.update(system.environment())
        os.environ[log.VARIABLE] = str(system.effects)
        logging.basicConfig(filename=folder / "measures.log")
        import django  # noqa: PLC0415  # the settings are read from the environment that was just set

        django.setup()
        from django.core.management import call_command  # noqa: PLC0415

        call_command("migrate", verbosity=0)
        _say(f"LEASE_SECONDS is {_LEASE_SECONDS:g}; {os.cpu_count()} cores.")
        importlib.import_module(f"tests.chaos.measures.{arguments.measure}").measure(system, _say)
    _say(f"{time.monotonic() - began:.0f} s in all.")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
