"""A circuit breaker: a broker that is down costs one caller its timeout, and the next ones nothing."""

import logging
import threading
import time
from dataclasses import dataclass, field

from tandem.exceptions import BrokerUnavailable

__all__ = ["Breaker"]

logger = logging.getLogger("tandem.engines")


@dataclass(kw_only=True)
class Breaker:
    """Open for `seconds` after a failure. One per process and broker; safe to use from several threads.

    `check` before a call, `failed` with what went wrong after one that did not get through, `succeeded` after one
    that did. Once the seconds are over every caller may try again: each costs at most its own timeout. That a broker is
    away is logged once, with what becomes of work `meanwhile`; what fails until it is back is counted, and logged then.
    """

    seconds: float
    meanwhile: str = "What is enqueued is kept; the relay sends it when it is back."
    _open_until: float = field(default=float("-inf"), init=False)
    _cause: str = field(default="", init=False)
    _since: float = field(default=0.0, init=False)
    _failures: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def check(self) -> None:
        """Raise `BrokerUnavailable` at once, with the cause of the last failure, while the breaker is open."""
        remaining = self._open_until - time.monotonic()
        if remaining > 0:
            self._failures += 1
            raise BrokerUnavailable(f"{self._cause} Not tried again for {remaining:.1f} s.")

    def failed(self, cause: str | BaseException) -> None:
        """Open the breaker; `cause` is a sentence that `check` repeats."""
        with self._lock:
            now, first = time.monotonic(), not self._cause
            self._open_until = now + self.seconds
            self._cause = str(cause) or repr(cause)
            self._since = now if first else self._since
            self._failures += 1
        if first:
            logger.warning("%s %s", self._cause, self.meanwhile)

    def succeeded(self) -> None:
        """Close the breaker."""
        if not self._cause:
            return
        with self._lock:
            said, failures, self._cause, self._failures = self._cause, self._failures, "", 0
            self._open_until = float("-inf")
        if said:
            seconds = time.monotonic() - self._since
            logger.warning("It is back after %.1f s, in which %d call(s) failed. It was: %s", seconds, failures, said)
