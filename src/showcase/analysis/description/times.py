"""Describing a column of dates or timestamps."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from showcase.analysis.description.bins import Bins
from showcase.analysis.description.charts import draw_times
from showcase.analysis.description.frequencies import Frequencies
from showcase.analysis.description.scanning import Column

__all__ = ["describe_times"]

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - of local timestamps too, whose zone nobody knows
DAYS_PER_YEAR = 365.2425
MICROSECONDS_PER_DAY = 86_400_000_000


def describe_times(column: Column, histogram: Path | None) -> dict[str, Any]:
    """`"times"` with the "first" and the "last" in ISO 8601; those with a zone are told in UTC, with a Z.

    Those beyond the years 1 to 9999 are told by their year alone, and make no picture.
    """
    frequencies = Frequencies.of(pl.Series(dtype=column.dtype))
    for values in column.chunks():
        frequencies = frequencies.and_of(values)
    value = column.value.to_physical()
    ends = column.aggregate(first=value.min(), last=value.max())
    drawn = False
    whole_days = column.type == "date"
    per_day = 1 if whole_days else MICROSECONDS_PER_DAY
    bins = None if ends["first"] is None else Bins.between(ends["first"], ends["last"], whole=whole_days)
    if histogram and bins:
        counts = np.zeros(bins.number, dtype=np.int64)
        for values in column.chunks():
            counts += bins.count(values.drop_nulls().to_physical().cast(pl.Float64).to_numpy())
        drawn = draw_times(histogram, column.name, bins=bins, counts=counts, per_day=per_day)
    return {
        **frequencies.distinct(),
        "drawn": drawn,
        "times": {end: _said(value, column.dtype) for end, value in ends.items()},
    }


def _said(physical: int | None, dtype: pl.DataType) -> str | None:
    if physical is None:
        return None
    zone = "Z" if isinstance(dtype, pl.Datetime) and dtype.time_zone else ""
    per_day = 1 if dtype == pl.Date else MICROSECONDS_PER_DAY
    try:
        if dtype == pl.Date:
            return (EPOCH.date() + timedelta(days=physical)).isoformat()
        return (EPOCH + timedelta(microseconds=physical)).isoformat() + zone
    except OverflowError:
        return f"about the year {EPOCH.year + physical / per_day / DAYS_PER_YEAR:,.0f}"
