"""Statistics of decimal numbers without rounding, in one pass and in little memory.

Each number is kept as a whole number of its smallest unit (12.5 as 12,500 thousandths), so that sums, sums of squares and
of products are exact whole numbers, and only the last division and root round.
"""

import math
from fractions import Fraction
from typing import Any

__all__ = ["Products", "Summary", "correlation"]


class Summary:
    """Count, sums and extremes of numbers in units of 1 / `scale`."""

    __slots__ = ("count", "largest", "scale", "smallest", "squares", "total")

    def __init__(self, *, scale: int) -> None:
        self.scale = scale
        self.count = 0
        self.total = 0
        self.squares = 0
        self.smallest: int | None = None
        self.largest: int | None = None

    def add(self, units: int) -> None:
        """Take one number in."""
        self.count += 1
        self.total += units
        self.squares += units * units
        if self.smallest is None or units < self.smallest:
            self.smallest = units
        if self.largest is None or units > self.largest:
            self.largest = units

    def as_dict(self) -> dict[str, Any]:
        """`count`, `min`, `max`, `mean` and the sample standard deviation; None where there are too few numbers."""
        mean = Fraction(self.total, self.count * self.scale) if self.count else None
        return {
            "count": self.count,
            "min": self._value(self.smallest),
            "max": self._value(self.largest),
            "mean": None if mean is None else float(mean),
            "standard_deviation": self._standard_deviation(),
        }

    def _value(self, units: int | None) -> float | None:
        if units is None:
            return None
        return units // self.scale if units % self.scale == 0 else units / self.scale

    def _standard_deviation(self) -> float | None:
        if self.count < 2:  # noqa: PLR2004 - one number has none
            return None
        squared = self.count * self.squares - self.total * self.total
        return math.sqrt(Fraction(squared, self.count * (self.count - 1) * self.scale**2))


class Products:
    """Sums over the pairs of two columns where both are there."""

    __slots__ = ("count", "first", "first_squares", "products", "second", "second_squares")

    def __init__(self) -> None:
        self.count = self.first = self.second = self.first_squares = self.second_squares = self.products = 0

    def add(self, first: int, second: int) -> None:
        """Take one pair in."""
        self.count += 1
        self.first += first
        self.second += second
        self.first_squares += first * first
        self.second_squares += second * second
        self.products += first * second


def correlation(pairs: Products) -> float | None:
    """Pearson's, or None where a column does not vary over the pairs."""
    first = pairs.count * pairs.first_squares - pairs.first * pairs.first
    second = pairs.count * pairs.second_squares - pairs.second * pairs.second
    if first == 0 or second == 0:
        return None
    together = pairs.count * pairs.products - pairs.first * pairs.second
    return math.copysign(math.sqrt(Fraction(together * together, first * second)), together)
