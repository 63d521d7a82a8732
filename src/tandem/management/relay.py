"""`manage.py tandem relay`."""

import argparse
import logging
from typing import Any

from tandem.management.arguments import add_health, backend_of, health_of, refuse_unsound, told_to_end
from tandem.relay import Relay

__all__ = ["add_arguments", "handle"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take where probes are answered."""
    add_health(parser)


def handle(options: dict[str, Any]) -> None:
    """Run a relay until SIGTERM or Ctrl-C; any number may run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    backend = backend_of()
    refuse_unsound(backend)
    health = health_of(options)
    relay = Relay(configuration=backend.configuration, engines=backend.engines, watch=health)
    with told_to_end() as wait:
        relay.round()
        print(f"Relay {relay.name} is running for {', '.join(backend.engines)}.", flush=True)
        relay.start()
        health.begin()
        wait()
    health.end()
    relay.stop()
