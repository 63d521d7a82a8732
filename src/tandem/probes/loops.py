"""Loops that must not end, and what they say of themselves: the one place where a background loop or thread is made.

Whatever a round raises is logged once for each cause and told to the process's `Watch`, which its probes read; the
loop goes on after a pause. `TandemError`s are expected: they name a server that is away, and the way out.
"""

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tandem.exceptions import BrokerUnavailable, TandemError

__all__ = ["HANGS_SECONDS", "PATIENCE_SECONDS", "Loop", "Watch"]

logger = logging.getLogger("tandem.loops")

# Longer than a loop waits for a database that is frozen: only one that hangs for good is restarted.
HANGS_SECONDS: Final = 300.0
PATIENCE_SECONDS: Final = 15.0
"""After so many seconds of failing a loop is said to do its work no more, where nothing else is set: a lease."""
# What was not tried again for so long is no trouble any more.
_FORGOTTEN_SECONDS: Final = 60.0
_LOGGED_AGAIN_SECONDS: Final = 300.0
# What differs from one failure to the next of the same cause: ids, times, ports.
_PARTICULARS: Final = re.compile(r"\S*\d\S*")


@dataclass(slots=True, kw_only=True)
class _Turning:
    """A loop that runs: when it last turned, and for how long it may not."""

    at: float
    patience: float


@dataclass(slots=True, kw_only=True)
class _Trouble:
    """Work that has failed each time since `since`; `last` is the latest failure."""

    since: float
    last: float
    patience: float
    reason: str


class Watch:
    """What the loops of one process say of themselves; told and asked from any thread."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._turning: dict[str, _Turning] = {}
        self._troubles: dict[str, _Trouble] = {}

    def beat(self, loop: str, *, patience: float = PATIENCE_SECONDS) -> None:
        """Say that a loop turns."""
        self._turning[loop] = _Turning(at=self.clock(), patience=patience)

    def left(self, loop: str) -> None:
        """Say that a loop was told to end."""
        self._turning.pop(loop, None)

    def failed(self, work: str, reason: str, *, patience: float = PATIENCE_SECONDS) -> None:
        """Say that some work failed; it is trouble once it has done nothing else for `patience` seconds."""
        now, known = self.clock(), self._troubles.get(work)
        since = now if known is None or now - known.last > _FORGOTTEN_SECONDS else known.since
        self._troubles[work] = _Trouble(since=since, last=now, patience=patience, reason=reason)

    def worked(self, work: str) -> None:
        """Say that some work was done."""
        self._troubles.pop(work, None)

    def hanging(self) -> str | None:
        """Which loop has not turned for 300 s, as one does that hangs, ended, or fails by an error nobody expected."""
        now = self.clock()
        for loop, turning in list(self._turning.items()):
            if (silent := now - turning.at) > max(HANGS_SECONDS, turning.patience):
                return f"{loop} has not turned for {silent:.0f} s."
        return None

    def trouble(self) -> str | None:
        """Which work is not done, since when and why; None where all is."""
        now = self.clock()
        for work, trouble in list(self._troubles.items()):
            if now - trouble.last <= _FORGOTTEN_SECONDS and trouble.last - trouble.since >= trouble.patience:
                return f"{work} has failed for {now - trouble.since:.0f} s: {trouble.reason}"
        for loop, turning in list(self._turning.items()):
            if (silent := now - turning.at) > turning.patience:
                return f"{loop} has not turned for {silent:.0f} s."
        return None


@dataclass(kw_only=True)
class Loop:
    """Calls `round` again and again until `stop`: no error ends it, but `KeyboardInterrupt` and its like in the main thread.

    `round` answers the seconds until the next one; after one that raised, `pause` follows. `wait` waits for what
    has the next round come earlier, and answers whether it could. `last` is called at the end, on the loop's own thread. Work that has failed, or a
    loop that has not turned, for `patience` seconds makes the process unready; a loop that has not turned, or only
    failed by errors that are no `TandemError`, for 300 s has it restarted.
    """

    name: str
    round: Callable[[], float]
    pause: float = 1.0
    patience: float = PATIENCE_SECONDS
    watch: Watch = field(default_factory=Watch)
    wait: Callable[[float], bool] = lambda _: False
    last: Callable[[], None] = lambda: None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _logged: dict[tuple[str, type[BaseException], str], float] = field(default_factory=dict)
    _unwell: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Go on in the background."""
        self._thread = threading.Thread(target=self.run, name=f"tandem {self.name}", daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Go on in this thread until `stop`."""
        self.beat()
        while not self._stop.is_set():
            self._rest(self.turn())
        self.watch.left(self.name)
        with self.guarded(f"{self.name}: the end"):
            self.last()

    async def arun(self) -> None:
        """As `run`, as a task of an event loop, until it is cancelled."""
        self.beat()
        try:
            while True:
                seconds = self.turn()
                await asyncio.sleep(seconds)
        finally:
            self.watch.left(self.name)

    def stop(self, *, within: float = 0.0) -> None:
        """End after this round; waits so many seconds for the thread."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=within)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def beat(self) -> None:
        """Say in a long round that it goes on."""
        self.watch.beat(self.name, patience=max(self.patience, self.pause))

    @contextmanager
    def guarded(self, work: str, *, but: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
        """Keep what a part of a round raises from the other parts; `but` names what ends the round."""
        try:
            yield
        except but:
            raise
        except BaseException as error:  # noqa: BLE001  # as in turn()
            self.failed(work, error)
        else:
            self._worked(work)

    def turn(self) -> float:
        """Go round once, whatever comes of it, and answer the seconds until the next round."""
        try:
            seconds = self.round()
        except BaseException as error:  # noqa: BLE001  # raised again where it is to end the process
            self.failed(self.name, error)
            if isinstance(error, TandemError):
                self.beat()
            return self.pause
        self.beat()
        self._worked(self.name)
        return seconds

    def _rest(self, seconds: float) -> None:
        try:
            rested = self.wait(seconds)
        except BaseException as error:  # noqa: BLE001  # as in turn()
            self.failed(f"{self.name}: the wait", error)
            rested = False
        if not rested:
            self._stop.wait(seconds)

    def failed(self, work: str, error: BaseException) -> None:
        """Say that some work failed: in the log, once for each cause, and to the watch."""
        # A thread of ours has nobody else to catch what is no Exception: a body's AttemptOver, a library's sys.exit().
        if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
            raise error
        expected = isinstance(error, TandemError)
        said = str(error).strip() or "no reason given"
        reason = said if expected else f"{type(error).__name__}: {said}"
        self.watch.failed(work, reason, patience=max(self.patience, self.pause))
        now, cause = time.monotonic(), (work, type(error), _PARTICULARS.sub("", said))
        if isinstance(error, BrokerUnavailable):
            # All of a loop's work fails by it, each in its own words.
            cause = ("", BrokerUnavailable, "")
        if now - self._logged.get(cause, float("-inf")) < _LOGGED_AGAIN_SECONDS:
            return
        self._logged = {key: at for key, at in self._logged.items() if now - at < _LOGGED_AGAIN_SECONDS}
        self._logged[cause] = now
        self._unwell.add(work)
        logger.log(
            logging.WARNING if expected else logging.ERROR,
            "%s failed, and is tried again: %s",
            work,
            reason,
            exc_info=None if expected else error,
        )

    def _worked(self, work: str) -> None:
        self.watch.worked(work)
        if work in self._unwell:
            self._unwell.discard(work)
            logger.warning("%s works again.", work)
