"""Describing a column of numbers."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from showcase.analysis.description.bins import Bins
from showcase.analysis.description.charts import draw_numbers
from showcase.analysis.description.frequencies import Frequencies
from showcase.analysis.description.moments import Moments, finite
from showcase.analysis.description.scanning import Column

__all__ = ["describe_numbers"]

LISTED = 20
FENCE = 1.5
QUARTILES = {"first_quartile": 0.25, "median": 0.5, "third_quartile": 0.75}


def describe_numbers(column: Column, histogram: Path | None) -> dict[str, Any]:
    """`"numbers"` with "minimum", "maximum", "mean", "standard_deviation", "skewness", the quartiles, "infinite" and
    "outliers".

    Infinite numbers are counted and left out of all else. Outliers lie more than 1.5 interquartile ranges outside the
    quartiles: `{"lower", "upper", "count", "examples": [{"row", "value"}]}` with the first 20, rows counted from 1. What
    too few numbers leave undefined is None.
    """
    frequencies = Frequencies.of(pl.Series(dtype=column.dtype))
    moments = Moments()
    for values in column.chunks():
        frequencies = frequencies.and_of(values)
        moments = moments.merge(Moments.of(_finite(values.drop_nulls())))
    finite_ones = column.value.filter(column.value.is_finite())
    found = column.aggregate(
        minimum=finite_ones.min(),
        maximum=finite_ones.max(),
        **{
            name: finite_ones.cast(pl.Float64).quantile(share, interpolation="linear")
            for name, share in QUARTILES.items()
        },
        infinite=column.value.is_infinite().sum(),
    )
    found |= {
        "mean": moments.average(),
        "standard_deviation": moments.standard_deviation(),
        "skewness": moments.skewness(),
    }
    outliers = _Outliers(found["first_quartile"], found["third_quartile"])
    whole = column.type == "integer"
    bins = Bins.between(moments.minimum, moments.maximum, whole=whole) if moments.count else None
    counts = np.zeros(bins.number if bins else 0, dtype=np.int64)
    for values in column.chunks():
        outliers.see(values)
        if bins:
            counts += bins.count(_finite(values.drop_nulls()))
    found["outliers"] = outliers.found()
    drawn = histogram is not None and bins is not None
    if histogram and bins:
        draw_numbers(histogram, column.name, bins=bins, counts=counts, outliers=outliers.count, whole=whole)
    return {**frequencies.distinct(), "drawn": drawn, "numbers": found}


def _finite(values: pl.Series) -> npt.NDArray[np.float64]:
    numbers = values.cast(pl.Float64).to_numpy()
    return numbers[np.isfinite(numbers)]


class _Outliers:
    """What lies beyond Tukey's fences; nothing where there are none."""

    def __init__(self, first_quartile: float | None, third_quartile: float | None) -> None:
        self.count = 0
        self._examples: list[dict[str, Any]] = []
        self._rows = 0
        if first_quartile is None or third_quartile is None:
            self._lower, self._upper = -math.inf, math.inf
        else:
            reach = FENCE * (third_quartile - first_quartile)
            self._lower, self._upper = first_quartile - reach, third_quartile + reach

    def see(self, values: pl.Series) -> None:
        """Take the next rows in."""
        numbers = values.cast(pl.Float64)
        beyond = ((numbers < self._lower) | (numbers > self._upper)) & numbers.is_finite()
        places = beyond.arg_true()
        self.count += len(places)
        self._examples += (
            {"row": self._rows + place + 1, "value": values[place]}
            for place in places.head(LISTED - len(self._examples)).to_list()
        )
        self._rows += len(values)

    def found(self) -> dict[str, Any]:
        return {
            "lower": finite(self._lower),
            "upper": finite(self._upper),
            "count": self.count,
            "examples": self._examples,
        }
