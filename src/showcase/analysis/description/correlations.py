"""How the numbers of two columns go together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from showcase.analysis.description.parquet import read_chunks

__all__ = ["MOST_CORRELATED", "Comoments", "correlations"]

MOST_CORRELATED = 30


def correlations(source: Path, names: Sequence[str]) -> dict[str, Any]:
    """Pearson's correlation of each two columns of numbers, over the rows where both are there and finite.

    `{"names", "coefficients": [[...]], "rows": [[...]]}`, both symmetric. A coefficient is None where one of its columns
    does not vary over these rows. Raises `ValueError` for more than 30 columns.
    """
    if len(names) > MOST_CORRELATED:
        raise ValueError(f"{len(names)} columns are too many to correlate: choose at most {MOST_CORRELATED}.")
    pairs = {pair: Comoments() for pair in _pairs(len(names))}
    for frame in read_chunks(source, names):
        columns = [frame[name].cast(pl.Float64).fill_null(math.nan).to_numpy() for name in names]
        there = [np.isfinite(column) for column in columns]
        whole = [bool(each.all()) for each in there]
        for (first, second), before in pairs.items():
            left, right = columns[first], columns[second]
            if not (whole[first] and whole[second]):
                both = there[first] & there[second]
                left, right = left[both], right[both]
            pairs[first, second] = before.merge(Comoments.of(left, right))
    found = {pair: (moments.coefficient(), moments.count) for pair, moments in pairs.items()}
    # With itself a column goes exactly, where rounding would leave a last digit.
    found |= {(each, each): (1.0, found[each, each][1]) for each, _ in pairs if found[each, each][0] is not None}
    found |= {(second, first): each for (first, second), each in found.items()}
    places = range(len(names))
    return {
        "names": list(names),
        "coefficients": [[found[row, column][0] for column in places] for row in places],
        "rows": [[found[row, column][1] for column in places] for row in places],
    }


def _pairs(number: int) -> list[tuple[int, int]]:
    return [*((place, place) for place in range(number)), *combinations(range(number), 2)]


@dataclass(frozen=True, kw_only=True)
class Comoments:
    """What is kept of some pairs of numbers: extremes, means, and sums of products of deviations from them.

    Parts merge in any order and grouping to the same but for rounding.
    """

    count: int = 0
    left_extremes: tuple[float, float] = (math.inf, -math.inf)
    right_extremes: tuple[float, float] = (math.inf, -math.inf)
    left_mean: float = 0.0
    right_mean: float = 0.0
    left_squares: float = 0.0
    right_squares: float = 0.0
    products: float = 0.0

    @classmethod
    def of(cls, left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> Self:
        """Those of some finite numbers and as many others."""
        if not left.size:
            return cls()
        with np.errstate(over="ignore", invalid="ignore"):
            left_mean, left_deviations = _center(left)
            right_mean, right_deviations = _center(right)
            return cls(
                count=left.size,
                left_extremes=(float(left.min()), float(left.max())),
                right_extremes=(float(right.min()), float(right.max())),
                left_mean=left_mean,
                right_mean=right_mean,
                left_squares=float((left_deviations * left_deviations).sum()),
                right_squares=float((right_deviations * right_deviations).sum()),
                products=float((left_deviations * right_deviations).sum()),
            )

    def merge(self, other: Self) -> Self:
        """Those of both together."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        share = other.count / count
        left = other.left_mean - self.left_mean
        right = other.right_mean - self.right_mean
        return type(self)(
            count=count,
            left_extremes=_extremes(self.left_extremes, other.left_extremes),
            right_extremes=_extremes(self.right_extremes, other.right_extremes),
            left_mean=self.left_mean + left * share,
            right_mean=self.right_mean + right * share,
            left_squares=self.left_squares + other.left_squares + left * left * self.count * share,
            right_squares=self.right_squares + other.right_squares + right * right * self.count * share,
            products=self.products + other.products + left * right * self.count * share,
        )

    def coefficient(self) -> float | None:
        """Pearson's, from -1 to 1; None where a side does not vary or is beyond floating point."""
        if any(low >= high for low, high in (self.left_extremes, self.right_extremes)):
            return None
        # The roots first: the product of both sums may be beyond floating point where they are not.
        size = math.sqrt(self.left_squares) * math.sqrt(self.right_squares)
        if not (size and math.isfinite(size) and math.isfinite(self.products)):
            return None
        return max(-1.0, min(1.0, self.products / size))


def _center(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
    mean = float(values.mean())
    deviations = values - mean
    # What rounding left in the mean shows here.
    correction = float(deviations.mean())
    return mean + correction, deviations - correction


def _extremes(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    return min(first[0], second[0]), max(first[1], second[1])
