"""How many bodies run at once in one process, and who waits for a place."""

import asyncio
import random
from collections import deque
from datetime import timedelta
from typing import Final

from restate.exceptions import RetryableError

__all__ = ["Slots"]

_PATIENCE: Final = 30.0
_PLACES: Final = 2_000
_SOONEST: Final = 0.1
_LATEST: Final = 30.0


class Slots:
    """Gives out `size` slots in the order of asking, on one event loop.

    Restate sends all it has at once, and each invocation that it must send again costs as much as a small task. So
    up to 2,000 wait here, for half of the time after which Restate would ask a silent attempt to suspend; the others
    are told when to come again: about when those before them will be done.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._size = size
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._pace = 0.05
        self._released_at = 0.0

    async def take(self) -> None:
        """Take a slot, or raise `RetryableError`: busy, or the process ends."""
        if self._closed:
            raise RetryableError("this process ends", retry_after=timedelta(seconds=1))
        if self._free:
            self._free -= 1
            return
        if len(self._waiting) >= _PLACES:
            raise self._busy()
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        self._waiting.append(place)
        timer = loop.call_later(_PATIENCE, self._give_up, place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.release()
            raise
        finally:
            timer.cancel()

    def release(self) -> None:
        """Give a slot to who has waited longest."""
        now = asyncio.get_running_loop().time()
        self._pace += (min(now - self._released_at, 1.0) - self._pace) / 16
        self._released_at = now
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def close(self) -> None:
        """Give out no more, and send away who waits."""
        self._closed = True
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(RetryableError("this process ends", retry_after=timedelta(seconds=1)))

    def _give_up(self, place: asyncio.Future[None]) -> None:
        if not place.done():
            place.set_exception(self._busy())

    def _busy(self) -> RetryableError:
        """Say when to come again: when the queue should be shorter, spread."""
        expected = min(_LATEST, max(_SOONEST, len(self._waiting) * self._pace))
        wait = expected * random.uniform(0.5, 1.5)  # noqa: S311  # spreads load
        return RetryableError("busy", retry_after=timedelta(seconds=wait))
