"""The Redis lists of a queue: one for each of four steps of priority."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

__all__ = ["SEPARATOR", "STEPS", "Band", "Lists", "step_of"]

STEPS: Final = (0, 3, 6, 9)
SEPARATOR: Final = ":"

_LOWEST: Final = {0: 50, 3: 1, 6: -49, 9: -100}
_HIGHEST: Final = {0: 100, 3: 49, 6: 0, 9: -50}


@cache
def step_of(priority: int) -> int:
    """Map Django's priority (-100 to 100, high is early) to a step of the Redis transport (0 is served first)."""
    return next((step for step in STEPS if priority >= _LOWEST[step]), STEPS[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One list of a queue, with the range of Django's priorities that it holds."""

    key: str
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """How kombu names the lists: `default`, `default:3`, `default:6`, `default:9`, behind a prefix."""

    prefix: str = ""
    separator: str = SEPARATOR
    steps: Sequence[int] = STEPS

    def key(self, queue: str, step: int) -> str:
        """The list of a queue for one step of priority."""
        served = self.steps[max(0, bisect_right(self.steps, step) - 1)]
        return f"{self.prefix}{queue}{self.separator}{served}" if served else f"{self.prefix}{queue}"

    def bands(self, queue: str) -> list[Band]:
        """Every list of a queue; those of an app with fewer steps hold several ranges."""
        return [Band(key=self.key(queue, step), lowest=_LOWEST[step], highest=_HIGHEST[step]) for step in STEPS]

    def ambiguous(self, queues: Iterable[str]) -> list[str]:
        """Queues whose names kombu would misread, because they hold its separator."""
        return [queue for queue in queues if self.separator in queue]
