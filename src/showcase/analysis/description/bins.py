"""Counting numbers in the bins of a histogram, for numbers that come in parts."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_BINS", "Bins"]

MOST_BINS = 40
MOST_SPAN = 1e300
LEAST_SPAN = 1e-280
MOST_WHOLE = 2**52


@dataclass(frozen=True, kw_only=True)
class Bins:
    """`number` bins of the same width from `start` to `end`; the last one holds its end too."""

    start: float
    end: float
    number: int

    @classmethod
    def between(cls, low: float, high: float, *, whole: bool) -> Self | None:
        """Bins for numbers from `low` to `high`; None where they span more or less than can be drawn.

        Bins of whole numbers, if all can be told apart in floating point, hold as many of them each: 40 or fewer. Others
        are 40, or one for a single number.
        """
        span = high - low
        if whole and -MOST_WHOLE < low <= high < MOST_WHOLE:
            width = math.ceil((span + 1) / MOST_BINS)
            number = math.ceil((span + 1) / width)
            return cls(start=low - 0.5, end=low - 0.5 + number * width, number=number)
        if not span:
            margin = abs(low) / 10 if abs(low) > LEAST_SPAN else 0.5
            return cls(start=low - margin, end=low + margin, number=1) if margin < MOST_SPAN else None
        return cls(start=low, end=high, number=MOST_BINS) if LEAST_SPAN < span < MOST_SPAN else None

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Where the bins begin, and where the last one ends."""
        return np.linspace(self.start, self.end, self.number + 1)

    def count(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """How many of the values are in each bin; add what it answers for all parts."""
        places = (values - self.start) / (self.end - self.start) * self.number
        inside = np.clip(places.astype(np.int64), 0, self.number - 1)
        return np.bincount(inside, minlength=self.number)
