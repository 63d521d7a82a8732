"""`manage.py tandem exporter`."""

import argparse
import logging
from typing import Any

from django.core.management.base import CommandError

from tandem.exporter import Exporter
from tandem.listening import listen
from tandem.management.arguments import backend_of, refuse_unsound, told_to_end

__all__ = ["add_arguments", "handle"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take where to answer and how often to count."""
    parser.add_argument("--bind", default="127.0.0.1:8082", metavar="HOST:PORT", help="default: 127.0.0.1:8082")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="between two counts (2)")


def handle(options: dict[str, Any]) -> None:
    """Answer until SIGTERM or Ctrl-C; any number may run."""
    if options["interval"] <= 0:
        raise CommandError(f"--interval is {options['interval']}, but must be above 0 seconds.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    backend = backend_of()
    refuse_unsound(backend)
    exporter = Exporter(backend.configuration, interval=options["interval"])
    with told_to_end() as wait:
        server = listen(options["bind"], exporter.routes(), option="--bind")
        print(f"Answering on {server.server_address[0]!s}:{server.server_address[1]}.", flush=True)
        exporter.start()
        wait()
    exporter.stop()
