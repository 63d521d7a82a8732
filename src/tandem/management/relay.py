"""`manage.py tandem relay`."""

import argparse
import logging
import os
import signal
from pathlib import Path
from typing import Any

from tandem.management.arguments import add_backend, backend_of
from tandem.relay import Relay

__all__ = ["add_arguments", "handle"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the backend."""
    add_backend(parser)


def handle(options: dict[str, Any]) -> None:
    """Run a relay until SIGTERM or Ctrl-C; any number may run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    backend = backend_of(options)
    relay = Relay(configuration=backend.configuration, engines=backend.engines)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relay.stop())
    relay.round()
    print(f"Relay {relay.name} is running for {', '.join(backend.engines)}.", flush=True)
    if ready := os.environ.get("TANDEM_READY_FILE"):
        Path(ready).touch()
    relay.run()
