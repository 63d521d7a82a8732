"""`manage.py tandem check`."""

import argparse
from typing import Any

from django.core.management.base import CommandError

from tandem.checks import live_problems
from tandem.management.arguments import backend_of

__all__ = ["add_arguments", "handle"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the backend."""


def handle(_: dict[str, Any]) -> None:
    """Print what is wrong and what to do; exit 1 where there is anything."""
    backend = backend_of()
    found = list(live_problems(backend))
    for line in found:
        print(f"- {line}")
    if found:
        raise CommandError(f"{len(found)} problem(s).")
    print(f"All is well: ledger, {', '.join(backend.engines)}, workers and relay.")
