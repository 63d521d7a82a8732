"""Mean, deviation and skewness of numbers that come in parts."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

__all__ = ["Moments", "finite"]


def finite(value: float) -> float | None:
    """The number, or None for infinite and NaN, which JSON lacks."""
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What is kept of some numbers: their extremes, mean, and sums of squared and cubed deviations from it.

    Parts merge in any order and grouping to the same but for rounding (Chan, Golub and LeVeque; Pébay for the cubes).
    All is computed in 64-bit floating point.
    """

    count: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0
    cubes: float = 0.0

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> Self:
        """Those of some finite numbers."""
        count = values.size
        if not count:
            return cls()
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(values.mean())
            deviations = values - mean
            # What rounding left in the mean shows here.
            correction = float(deviations.mean())
            deviations -= correction
            squares = deviations * deviations
            return cls(
                count=count,
                minimum=float(values.min()),
                maximum=float(values.max()),
                mean=mean + correction,
                squares=float(squares.sum()),
                cubes=float((squares * deviations).sum()),
            )

    def merge(self, other: Self) -> Self:
        """Those of both together."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        share = other.count / count
        delta = other.mean - self.mean
        between = delta * delta * self.count * share
        return type(self)(
            count=count,
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
            mean=self.mean + delta * share,
            squares=self.squares + other.squares + between,
            cubes=self.cubes
            + other.cubes
            + between * delta * (self.count - other.count) / count
            + 3 * delta * (self.count * other.squares - other.count * self.squares) / count,
        )

    @property
    def constant(self) -> bool:
        """Whether all are the same number; rounding may still show deviations."""
        return self.minimum == self.maximum

    def average(self) -> float | None:
        """The mean; None of nothing, and where it is beyond floating point."""
        if not self.count:
            return None
        return self.minimum if self.constant else finite(self.mean)

    def standard_deviation(self) -> float | None:
        """The sample's, with n - 1; None for fewer than two numbers."""
        if self.count < 2:  # noqa: PLR2004 - one number has none
            return None
        return 0.0 if self.constant else finite(math.sqrt(self.squares / (self.count - 1)))

    def skewness(self) -> float | None:
        """The third standardised moment; None for fewer than two numbers and where all are the same."""
        if self.count < 2 or self.constant or not self.squares:  # noqa: PLR2004 - as above
            return None
        return finite(math.sqrt(self.count) * self.cubes / (self.squares * math.sqrt(self.squares)))
