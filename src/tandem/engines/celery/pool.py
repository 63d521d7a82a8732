"""Celery's prefork pool, which looks after its children more often."""

from collections.abc import Callable, Mapping
from typing import Final

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool

__all__ = ["PreforkPool"]

_SECONDS: Final = 1.0


class _Pool(AsynPool):  # type: ignore[misc]  # Celery ships no types
    @property
    def timers(self) -> Mapping[Callable[[], None], float]:
        """Celery is told of most deaths at once, and finds the others at its next look: 5 s apart as it comes."""
        return {self.maintain_pool: _SECONDS}


class PreforkPool(TaskPool):  # type: ignore[misc]  # as above
    """`prefork`, with a killed child found and replaced within about a second."""

    Pool = _Pool
