"""TaskTracker: progress of executions for readers that know Restate and not Django.

A virtual object, keyed by execution id. The runner mirrors progress to it through the ingress, at most once a second
for each execution, from a thread of its own; it is cleared at the end. Nothing of Tandem depends on it.
"""

import logging
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import restate
from restate.serde import BytesSerde

from tandem.configuration import RestateOptions
from tandem.engines.restate.client import RestateClient
from tandem.engines.restate.messages import Requests
from tandem.engines.restate.targets import TRACKER
from tandem.exceptions import TandemError

__all__ = ["Mirror", "tracker"]

logger = logging.getLogger("tandem.restate")

_SECONDS: Final = 1.0
_STATE: Final = "progress"
_NOTHING: Final = timedelta(0)
_JSON: Final = BytesSerde()


def tracker(policy: restate.InvocationRetryPolicy) -> restate.VirtualObject:
    """Build the object. Its own invocations leave no rows behind: they are many, and only its state matters."""
    made = restate.VirtualObject(
        TRACKER,
        description="Progress of executions, by execution id.",
        journal_retention=_NOTHING,
        idempotency_retention=_NOTHING,
        invocation_retry_policy=policy,
    )

    # Values pass through as the JSON they came as; nothing is null, and not an empty body.
    @made.handler("set", input_serde=_JSON)
    async def set_(context: restate.ObjectContext, value: bytes) -> None:
        context.set(_STATE, value, serde=_JSON)

    @made.handler("get", kind="shared", output_serde=_JSON)
    async def get(context: restate.ObjectSharedContext) -> bytes:
        return await context.get(_STATE, serde=_JSON) or b"null"

    @made.handler("clear", input_serde=_JSON)
    async def clear(context: restate.ObjectContext, _value: bytes) -> None:
        context.clear_all()

    return made


@dataclass(kw_only=True)
class Mirror:
    """Sends the latest progress of each execution, and drops what cannot be sent."""

    options: RestateOptions
    _latest: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    _mirrored: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _some: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def put(self, id_: str, value: dict[str, Any]) -> None:
        """Take progress to be sent within a second; the last value counts. Never blocks."""
        with self._lock:
            self._latest[id_] = value
            self._mirrored.add(id_)
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._loop, name="tandem-tracker", daemon=True)
                self._thread.start()
        self._some.set()

    def clear(self, id_: str) -> None:
        """Forget an execution that ended, where something was mirrored."""
        if id_ not in self._mirrored:
            return
        with self._lock:
            self._mirrored.discard(id_)
            self._latest[id_] = None
        self._some.set()

    def stop(self) -> None:
        """Send what is left, and end the thread."""
        self._stop.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join(timeout=self.options.request_timeout)

    def _loop(self) -> None:
        client = RestateClient(self.options)
        requests = Requests(options=self.options)
        while self._some.wait():
            self._some.clear()
            with self._lock:
                latest, self._latest = self._latest, {}
            try:
                for id_, value in latest.items():
                    client.ask(requests.track(id_, "clear") if value is None else requests.track(id_, "set", value))
            except TandemError as error:
                logger.info("Progress was not mirrored to %s: %s", TRACKER, error)
            if self._stop.wait(_SECONDS) and not self._latest:
                break
        client.close()
