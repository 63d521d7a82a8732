"""What a process says of itself to whoever started it: a file when it is ready, and two addresses for probes.

`GET /-/alive` and `GET /-/ready` answer 200, or 503 with the reason, from what the process's own loops say. Neither
asks another server. A database that is down makes its processes unready, for they can do nothing, and says so; it has
none restarted on top, for that would not help.
"""

import os
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

from tandem.listening import Answer, Route, listen
from tandem.loops import HANGS_SECONDS, Watch

__all__ = ["ALIVE", "READY", "Health"]

ALIVE: Final = "/-/alive"
READY: Final = "/-/ready"
READY_FILE: Final = "TANDEM_READY_FILE"
_START: Final = "The start"


class Health(Watch):
    """One process's health.

    Ready is a process that said so, and whose loops all do their work: none has failed, or hung, for longer than its
    patience, a lease for most. One that was told to end stays so: Kubernetes sends nothing more to a pod that ends, and
    makes a Warning event of each probe that fails until it has. Alive is one none of whose loops hangs, has ended, or has
    failed for 300 s by an error that nobody expected.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self._ready = False
        self.beat(_START, patience=HANGS_SECONDS)

    def listen(self, bind: str) -> None:
        """Answer probes on HOST:PORT; raises `ConfigurationError` where the address cannot be had."""
        listen(bind, self.routes(), option="--health")

    def routes(self) -> dict[str, Route]:
        """The two addresses, for a process that answers others too."""
        return {ALIVE: self._alive, READY: self._is_ready}

    def begin(self) -> None:
        """Say that work is taken from now on, to probes and in the file that `TANDEM_READY_FILE` names."""
        self.left(_START)
        self._ready = True
        if path := os.environ.get(READY_FILE):
            Path(path).touch()

    def _alive(self, _: Mapping[str, str]) -> Answer:
        return _answer(self.hanging(), "alive")

    def _is_ready(self, _: Mapping[str, str]) -> Answer:
        return _answer(self.trouble() if self._ready else "It starts.", "ready")


def _answer(reason: str | None, well: str) -> Answer:
    if reason is None:
        return Answer(body=f"{well}\n")
    return Answer(status=HTTPStatus.SERVICE_UNAVAILABLE, body=f"Not {well}: {reason}\n")
