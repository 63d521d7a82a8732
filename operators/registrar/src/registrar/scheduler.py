"""When each object is looked at: at once when it changed, otherwise when its last pass said."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from registrar import metrics
from registrar.cluster import ClusterError
from registrar.manifests import Key
from registrar.transport import Unreachable

__all__ = ["Scheduler", "spread"]

logger = logging.getLogger("registrar")

_PACE: Final = 1.0
_LONGEST_BACKOFF: Final = 60.0
_AT_ONCE: Final = 8
_UNHURRIED: Final = 30.0
_LONGEST: Final = 300.0
# A pass asks Kubernetes six times at most: so the idle passes of up to fifty objects ask it once a second.
_SHARE: Final = 6.0


def spread(again: float, objects: int) -> float:
    """Answer when to look again, in seconds, where that many objects are looked at; what is in a hurry stays so."""
    return again if again < _UNHURRIED else max(again, min(_LONGEST, _SHARE * objects))


class Scheduler:
    """Runs passes: one at a time for an object, at most eight in all, and for one object at most one a second.

    `run` answers when to look again, in seconds, or `None` when there is nothing left to look at.
    """

    def __init__(self, run: Callable[[str, str], Awaitable[float | None]]) -> None:
        self._run = run
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._changed: dict[Key, asyncio.Event] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def wake(self, namespace: str, name: str) -> None:
        """Have an object looked at now."""
        key = (namespace, name)
        self._changed.setdefault(key, asyncio.Event()).set()
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._look_after(key), name=f"passes of {namespace}/{name}")

    async def close(self) -> None:
        """Stop, in the middle of a pass where need be: the next start goes on from what it finds."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_after(self, key: Key) -> None:
        failures = 0
        changed = self._changed[key]
        while True:
            changed.clear()
            began = asyncio.get_running_loop().time()
            try:
                async with self._places:
                    again = await self._run(*key)
                failures = 0
            except Exception as error:  # one object's trouble, of whatever kind, is not the others'
                failures += 1
                again = min(_LONGEST_BACKOFF, 2.0**failures)
                metrics.ERRORS.labels(*key).inc()
                known = isinstance(error, ClusterError | Unreachable)
                logger.warning("%s/%s: tried again in %.0f s: %s", *key, again, error, exc_info=not known)
            if again is None and not changed.is_set():
                del self._tasks[key], self._changed[key]
                return
            await _first_of(changed, spread(again or 0.0, len(self._tasks)))
            await asyncio.sleep(max(0.0, began + _PACE - asyncio.get_running_loop().time()))


async def _first_of(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
