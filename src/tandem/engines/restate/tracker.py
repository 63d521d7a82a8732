"""TaskTracker: progress of executions for readers that know Restate and not Django.

A virtual object, keyed by execution id. The runner publishes progress to it through the ingress, at most once a second
for each execution, from a thread of its own; it is cleared at the end. Nothing of Tandem depends on it.

Anybody whom the ingress answers may read it. Only who has the project's `SECRET_KEY` may write: `set` and `clear` ask
for a token made from it and from the execution's id.
"""

import logging
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import restate
from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac
from restate.exceptions import TerminalError
from restate.serde import BytesSerde

from tandem.configuration import RestateOptions
from tandem.engines.restate.client import RestateClient
from tandem.engines.restate.messages import Requests
from tandem.engines.restate.targets import TRACKER_WRITER, tracker_name
from tandem.exceptions import TandemError
from tandem.probes.loops import Loop, Watch

__all__ = ["ProgressPublisher", "token", "tracker"]

logger = logging.getLogger("tandem.restate")

_SECONDS: Final = 1.0
# Nothing depends on it, and a batch may take long.
_PATIENCE_SECONDS: Final = 60.0
_STATE: Final = "progress"
_NOTHING: Final = timedelta(0)
_JSON: Final = BytesSerde()
_FORBIDDEN: Final = 403


def token(id_: str, secret: str | bytes | None = None) -> str:
    """Answer what an execution's tracker asks of who writes to it, made from `SECRET_KEY` where no `secret` is given."""
    return salted_hmac(TRACKER_WRITER, id_, secret=secret, algorithm="sha256").hexdigest()


def _authorize(context: restate.ObjectContext) -> None:
    """Raise a terminal 403 unless the call has the token, made from the key of now or from one that it replaced."""
    given = context.request().headers.get(TRACKER_WRITER, "")
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    if not any(constant_time_compare(given, token(context.key(), secret)) for secret in secrets):
        raise TerminalError("Only Tandem writes to TaskTracker; call its handler `get` to read.", _FORBIDDEN)


def tracker(policy: restate.InvocationRetryPolicy, prefix: str) -> restate.VirtualObject:
    """Build the object. Its own invocations leave no rows behind: they are many, and only its state matters."""
    made = restate.VirtualObject(
        tracker_name(prefix),
        description="Progress of executions, by execution id.",
        journal_retention=_NOTHING,
        idempotency_retention=_NOTHING,
        invocation_retry_policy=policy,
    )

    # Values pass through as the JSON they came as; nothing is null, and not an empty body.
    @made.handler("set", input_serde=_JSON)
    async def set_(context: restate.ObjectContext, value: bytes) -> None:
        _authorize(context)
        context.set(_STATE, value, serde=_JSON)

    @made.handler("get", kind="shared", output_serde=_JSON)
    async def get(context: restate.ObjectSharedContext) -> bytes:
        return await context.get(_STATE, serde=_JSON) or b"null"

    @made.handler("clear", input_serde=_JSON)
    async def clear(context: restate.ObjectContext, _value: bytes) -> None:
        _authorize(context)
        context.clear_all()

    return made


@dataclass(kw_only=True)
class ProgressPublisher:
    """Sends the latest progress of each execution, and drops what cannot be sent."""

    options: RestateOptions
    watch: Watch = field(default_factory=Watch)
    _latest: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    _published: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    loop: Loop = field(init=False)
    _client: RestateClient | None = None
    _started: bool = False

    def __post_init__(self) -> None:
        self.loop = Loop(
            name="Mirroring progress",
            round=self._send,
            patience=_PATIENCE_SECONDS,
            watch=self.watch,
            last=self._close,
        )

    def put(self, id_: str, value: dict[str, Any]) -> None:
        """Take progress to be sent within a second; the last value counts. Never blocks."""
        with self._lock:
            self._latest[id_] = value
            self._published.add(id_)
            if not self._started:
                self._started = True
                self.loop.start()

    def clear(self, id_: str) -> None:
        """Forget an execution that ended, where something was published."""
        if id_ not in self._published:
            return
        with self._lock:
            self._published.discard(id_)
            self._latest[id_] = None

    def stop(self) -> None:
        """Send what is left, and end the thread."""
        self.loop.stop(within=self.options.request_timeout)

    def _send(self) -> float:
        requests = Requests(options=self.options)
        with self._lock:
            latest, self._latest = self._latest, {}
        if self._client is None:
            self._client = RestateClient(self.options)
        try:
            for id_, value in latest.items():
                self._client.ask(requests.track(id_, "clear" if value is None else "set", token(id_), value))
        except TandemError as error:
            logger.info("Progress was not published to %s: %s", tracker_name(self.options.prefix), error)
        return _SECONDS

    def _close(self) -> None:
        try:
            self._send()
        finally:
            if self._client is not None:
                self._client.close()
