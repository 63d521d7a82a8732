"""Describing a column of texts, or of true and false."""

from pathlib import Path
from typing import Any

import polars as pl

from showcase.analysis.description.charts import draw_most_frequent
from showcase.analysis.description.frequencies import Frequencies
from showcase.analysis.description.scanning import Column

__all__ = ["describe_booleans", "describe_texts"]

MOST_FREQUENT = 10
LONGEST_LISTED = 100


def describe_texts(column: Column, histogram: Path | None) -> dict[str, Any]:
    """`"texts"` with "shortest", "longest" and "mean_length" in characters, and "most_frequent".

    Those are up to 10 `{"value", "number"}`, the most frequent first and those that come as often by their letters, each
    cut to 100 characters. Of a column with more than 100,000 different texts, only those that come in more than one of
    100,000 rows are listed.
    """
    frequencies = Frequencies.of(pl.Series(dtype=column.dtype))
    for values in column.chunks():
        frequencies = frequencies.merge(Frequencies.of(values))
    lengths = column.value.str.len_chars()
    found = column.aggregate(shortest=lengths.min(), longest=lengths.max(), mean_length=lengths.mean())
    most = _exact(column, frequencies).sort(["number", "value"], descending=[True, False]).head(MOST_FREQUENT)
    found["most_frequent"] = [{"value": value[:LONGEST_LISTED], "number": number} for value, number in most.iter_rows()]
    distinct = frequencies.distinct()
    if distinct["distinct"] == most.height:
        said = "All values"
    else:
        than = "more than " if distinct["more"] else ""
        said = f"The {most.height} most frequent of {than}{distinct['distinct']:,} values"
    return {**distinct, "drawn": _draw(column, histogram, found["most_frequent"], said), "texts": found}


def _exact(column: Column, frequencies: Frequencies) -> pl.DataFrame:
    """Values and how often they come, without those that others may come before."""
    if frequencies.complete:
        return frequencies.counts
    counts = frequencies.counts.with_columns(number=pl.lit(0, pl.Int64))
    total = 0
    for values in column.chunks():
        total += len(values) - values.null_count()
        counts = pl.concat([counts, frequencies.recount(values)]).group_by("value").agg(pl.col("number").sum())
    return counts.filter(pl.col("number") * frequencies.most > total)


def describe_booleans(column: Column, histogram: Path | None) -> dict[str, Any]:
    """`"booleans"` with how many are "true" and "false"."""
    value = column.value
    found = column.aggregate(true=value.sum(), false=(~value).sum())
    counts = [{"value": name, "number": number} for name, number in found.items() if number]
    return {
        "distinct": len(counts),
        "more": False,
        "drawn": _draw(column, histogram, counts, "All values"),
        "booleans": found,
    }


def _draw(column: Column, histogram: Path | None, counts: list[dict[str, Any]], said: str) -> bool:
    if histogram is None or not counts:
        return False
    draw_most_frequent(histogram, column.name, counts=counts, said=said)
    return True
