"""`manage.py tandem exporter`."""

import argparse
import logging
from typing import Any

from django.core.management.base import CommandError

from tandem.exporter import Exporter
from tandem.management.arguments import backend_of, refuse_unsound, told_to_end
from tandem.management.logs import write_log
from tandem.probes.health import listen

__all__ = ["add_arguments", "handle"]

logger = logging.getLogger("tandem.exporter")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take where to answer and how often to count."""
    parser.add_argument("--bind", default="127.0.0.1:8082", metavar="HOST:PORT", help="default: 127.0.0.1:8082")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="between two counts (2)")


def handle(options: dict[str, Any]) -> None:
    """Answer until SIGTERM or Ctrl-C; any number may run."""
    if options["interval"] <= 0:
        raise CommandError(f"--interval is {options['interval']}, but must be above 0 seconds.")
    write_log()
    backend = backend_of()
    refuse_unsound(backend)
    exporter = Exporter(backend.engines, interval=options["interval"])
    with told_to_end() as wait:
        server = listen(options["bind"], exporter.routes(), option="--bind")
        logger.info("Answering on %s:%s.", *server.server_address[:2])
        exporter.start()
        wait()
    exporter.stop()
