"""The options that say which of the services a process serves."""

import argparse
from typing import Any

from django.core.management.base import CommandError

from tandem.engines.restate.share import Share

__all__ = ["add_share", "share_of"]


def add_share(parser: argparse.ArgumentParser) -> None:
    """Take `--take` and `--except`."""
    parser.add_argument(
        "--take",
        action="append",
        default=[],
        metavar="SERVICE",
        help="serve this service only, an app's or a workflow's, by its name without the prefix; may be repeated",
    )
    parser.add_argument(
        "--except",
        action="append",
        default=[],
        metavar="SERVICE",
        help="serve all but this one, which another process takes; may be repeated",
    )


def share_of(options: dict[str, Any]) -> Share:
    """Return what the options say; raises `CommandError` where they say both."""
    if options["take"] and options["except"]:
        raise CommandError("--take names all that is served: leave --except to the one process that takes the rest.")
    return Share(takes=frozenset(options["take"]), others=frozenset(options["except"]))
