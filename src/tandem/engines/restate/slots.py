"""How many bodies run at once in one process, and who waits for a place."""

import asyncio
import random
from collections import OrderedDict, deque
from datetime import timedelta
from itertools import chain
from typing import Final

from restate.exceptions import RetryableError

__all__ = ["Slots"]

_PATIENCE: Final = 30.0
# Restate's own limit of running invocations is 1,000 per partition, 24 partitions by default.
_PLACES: Final = 20_000
_SOONEST: Final = 0.1
_LATEST: Final = 30.0


class Slots:
    """Gives out `size` slots on one event loop: to each task in its turn, and within a task in the order of asking.

    So a flood of one task delays another by one body at most: Restate itself has no queues. It sends all it has at
    once, and each invocation that it must send again costs as much as a small task. So up to 20,000 of a task wait
    here, for half of the time after which Restate would ask a silent attempt to suspend; the others are told when to
    come again: about when those before them will be done.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._closed = False
        self._pace = 0.05
        self._released_at = 0.0

    async def take(self, task: str) -> None:
        """Take a slot for a body of `task`, or raise `RetryableError`: busy, or the process ends."""
        if self._closed:
            raise RetryableError("this process ends", retry_after=timedelta(seconds=1))
        if self._free:
            self._free -= 1
            return
        places = self._waiting.setdefault(task, deque())
        if len(places) >= _PLACES:
            raise self._busy(places)
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        places.append(place)
        timer = loop.call_later(_PATIENCE, self._give_up, places, place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.release()
            raise
        finally:
            timer.cancel()

    def release(self) -> None:
        """Give a slot to who has waited longest of the task whose turn it is."""
        now = asyncio.get_running_loop().time()
        if self._waiting:
            # Only a gap under load says how fast bodies end.
            self._pace += (min(now - self._released_at, 1.0) - self._pace) / 16
        self._released_at = now
        while self._waiting:
            # The task whose turn it is goes to the end of the round.
            task, places = self._waiting.popitem(last=False)
            place = places.popleft()
            if places:
                self._waiting[task] = places
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def close(self) -> None:
        """Give out no more, and send away who waits."""
        self._closed = True
        waiting, self._waiting = self._waiting, OrderedDict()
        for place in chain.from_iterable(waiting.values()):
            if not place.done():
                place.set_exception(RetryableError("this process ends", retry_after=timedelta(seconds=1)))

    def _give_up(self, places: deque[asyncio.Future[None]], place: asyncio.Future[None]) -> None:
        if not place.done():
            place.set_exception(self._busy(places))

    def _busy(self, places: deque[asyncio.Future[None]]) -> RetryableError:
        """Say when to come again: when the queue should be shorter, spread."""
        expected = min(_LATEST, max(_SOONEST, len(places) * len(self._waiting) * self._pace))
        wait = expected * random.uniform(0.5, 1.5)  # noqa: S311  # spreads load
        return RetryableError("busy", retry_after=timedelta(seconds=wait))
