"""`manage.py tandem relay`."""

import argparse
import logging
from typing import Any

from tandem.management.arguments import add_health, backend_of, health_of, refuse_unsound, told_to_end
from tandem.management.logs import write_log
from tandem.relay import Relay

__all__ = ["add_arguments", "handle"]

logger = logging.getLogger("tandem.relay")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take where probes are answered."""
    add_health(parser)


def handle(options: dict[str, Any]) -> None:
    """Run a relay until SIGTERM or Ctrl-C; any number may run."""
    write_log()
    backend = backend_of()
    refuse_unsound(backend)
    health = health_of(options)
    relay = Relay(configuration=backend.configuration, engines=backend.engines, watch=health)
    with told_to_end() as wait:
        relay.round()
        logger.info("Relay %s is running for %s.", relay.name, ", ".join(backend.engines))
        relay.start()
        health.begin()
        wait()
    relay.stop()
