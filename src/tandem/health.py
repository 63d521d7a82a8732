"""What a process says of itself to whoever started it: a file when it is ready, and two addresses for probes.

`GET /-/alive` and `GET /-/ready` answer 200, or 503 with the reason. Neither asks another server: a database that is
down must not have every process restarted, or taken out of service, on top.
"""

import os
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

from tandem.listening import Answer, Route, listen

__all__ = ["ALIVE", "READY", "Health"]

ALIVE: Final = "/-/alive"
READY: Final = "/-/ready"
READY_FILE: Final = "TANDEM_READY_FILE"
# Longer than a loop waits for a database that is frozen: only one that hangs for good is restarted.
SILENCE_SECONDS: Final = 300.0


class Health:
    """One process's health.

    `beat` is called by the process's own loop: alive is a process whose loop turned within 300 s. Ready is one that
    said so, until it says that it ends.
    """

    def __init__(self) -> None:
        self._beat_at = time.monotonic()
        self._ready = False

    def listen(self, bind: str) -> None:
        """Answer probes on HOST:PORT; raises `ConfigurationError` where the address cannot be had."""
        listen(bind, self.routes(), option="--health")

    def routes(self) -> dict[str, Route]:
        """The two addresses, for a process that answers others too."""
        return {ALIVE: self._alive, READY: self._is_ready}

    def beat(self) -> None:
        """Say that the loop turns."""
        self._beat_at = time.monotonic()

    def begin(self) -> None:
        """Say that work is taken from now on, to probes and in the file that `TANDEM_READY_FILE` names."""
        self._ready = True
        if path := os.environ.get(READY_FILE):
            Path(path).touch()

    def end(self) -> None:
        """Say that no more work is taken."""
        self._ready = False

    def _alive(self, _: Mapping[str, str]) -> Answer:
        silent = time.monotonic() - self._beat_at
        if silent > SILENCE_SECONDS:
            return Answer(status=HTTPStatus.SERVICE_UNAVAILABLE, body=f"The loop has not turned for {silent:.0f} s.\n")
        return Answer(body="alive\n")

    def _is_ready(self, _: Mapping[str, str]) -> Answer:
        if not self._ready:
            return Answer(status=HTTPStatus.SERVICE_UNAVAILABLE, body="Not ready: it starts, or it ends.\n")
        return Answer(body="ready\n")
