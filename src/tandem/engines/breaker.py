"""A circuit breaker: a broker that is down costs one caller its timeout, and the next ones nothing."""

import threading
import time
from dataclasses import dataclass, field

from tandem.exceptions import BrokerUnavailable

__all__ = ["Breaker"]


@dataclass(kw_only=True)
class Breaker:
    """Open for `seconds` after a failure. One per process and broker; safe to use from several threads.

    `check` before a call, `failed` with what went wrong after one that did not get through, `succeeded` after one
    that did. Once the seconds are over every caller may try again: each costs at most its own timeout.
    """

    seconds: float
    _open_until: float = field(default=float("-inf"), init=False)
    _cause: str = field(default="", init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def check(self) -> None:
        """Raise `BrokerUnavailable` at once, with the cause of the last failure, while the breaker is open."""
        remaining = self._open_until - time.monotonic()
        if remaining > 0:
            raise BrokerUnavailable(f"{self._cause} Not tried again for {remaining:.1f} s.")

    def failed(self, cause: str | BaseException) -> None:
        """Open the breaker; `cause` is a sentence that `check` repeats."""
        with self._lock:
            self._open_until = time.monotonic() + self.seconds
            self._cause = str(cause) or repr(cause)

    def succeeded(self) -> None:
        """Close the breaker."""
        if self._open_until == float("-inf"):
            return
        with self._lock:
            self._open_until = float("-inf")
            self._cause = ""
