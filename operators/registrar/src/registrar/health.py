"""Whether the registrar would notice a change: Kubernetes answers, and its watch delivers what a list shows."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from registrar.cluster import Cluster, ClusterError
from registrar.manifests import Key
from registrar.transport import Unreachable

__all__ = ["Heartbeat"]

logger = logging.getLogger("registrar")

_INTERVAL: Final = 30.0
_SILENCE: Final = 100.0
_BEHIND: Final = 60.0


class Heartbeat:
    """Lists the objects every 30 s, and compares with what the watch told.

    It is red when no list has succeeded for 100 s (the event loop hangs, or Kubernetes does not answer), or when the
    watch has not delivered for 60 s what a list showed. `namespaces` is empty for all.
    """

    def __init__(
        self, *, cluster: Cluster, namespaces: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._namespaces: Sequence[str | None] = namespaces or [None]
        self._clock = clock
        self._listed_at = clock()
        self._error = "it has not been asked yet"
        self._seen: dict[Key, int] = {}
        self._behind: dict[Key, float] = {}

    @property
    def interval(self) -> float:
        """Seconds between lists: at most one request in two seconds, whatever the number of namespaces."""
        return max(_INTERVAL, 2.0 * len(self._namespaces))

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self.beat()
            await asyncio.sleep(self.interval)

    async def beat(self) -> None:
        """List once."""
        versions: dict[Key, str] = {}
        try:
            for namespace in self._namespaces:
                versions |= await self._cluster.versions(namespace)
            self._compare(versions)
        except (ClusterError, Unreachable) as error:
            self._error = str(error)
            return
        except Exception as error:  # whatever a list has in it, the next is asked for
            self._error = f"{type(error).__name__}: {error}"
            logger.exception("The list of RestateServices was not understood.")
            return
        self._listed_at = self._clock()

    def saw(self, namespace: str, name: str, version: str) -> None:
        """The watch delivered an object."""
        self._seen[namespace, name] = int(version)
        self._behind.pop((namespace, name), None)

    def lost(self, namespace: str, name: str) -> None:
        """The watch delivered that an object is gone."""
        self._seen.pop((namespace, name), None)
        self._behind.pop((namespace, name), None)

    @property
    def trouble(self) -> str | None:
        """Why the registrar is as good as dead, or `None`. May be asked from any thread."""
        now = self._clock()
        if (silence := now - self._listed_at) > _SILENCE + self.interval - _INTERVAL:
            return f"RestateServices could not be listed for {silence:.0f} s: {self._error}"
        late = [key for key, since in list(self._behind.items()) if now - since > _BEHIND]
        if late:
            namespace, name = min(late)
            return f"the watch is dead: it has not told of {namespace}/{name} for over {_BEHIND:.0f} s"
        return None

    def _compare(self, versions: Mapping[Key, str]) -> None:
        now = self._clock()
        for key, version in versions.items():
            # Newer ones may have come while the list was under way.
            if int(version) > self._seen.get(key, 0):
                self._behind.setdefault(key, now)
        for key in self._behind.keys() - versions.keys():
            self._behind.pop(key)
