"""How often each value comes, for values that come in parts."""

from dataclasses import dataclass
from typing import Any, Self

import polars as pl

__all__ = ["MOST_DISTINCT", "Frequencies"]

MOST_DISTINCT = 100_000


@dataclass(frozen=True, kw_only=True)
class Frequencies:
    """The values of a column that are not missing, and their numbers.

    Up to `most` different values, all is exact and parts merge to the same in any order. Past that, `complete` is False
    and this is the summary of Misra and Gries: numbers are too low, but each value that comes more often than once in
    `most` rows is there.
    """

    counts: pl.DataFrame
    most: int = MOST_DISTINCT
    complete: bool = True

    @classmethod
    def of(cls, values: pl.Series, *, most: int = MOST_DISTINCT) -> Self:
        """Those of some values; nulls are left out."""
        present = values.drop_nulls().alias("value")
        counts = present.to_frame().group_by("value").agg(pl.len().cast(pl.Int64).alias("number"))
        return cls(counts=counts, most=most).cut()

    def merge(self, other: Self) -> Self:
        """Those of both together."""
        counts = pl.concat([self.counts, other.counts]).group_by("value").agg(pl.col("number").sum())
        return type(self)(counts=counts, most=self.most, complete=self.complete and other.complete).cut()

    def and_of(self, values: pl.Series) -> Self:
        """Those with some more values, as long as all is exact; past that, nothing is counted."""
        return self.merge(type(self).of(values, most=self.most)) if self.complete else self

    def distinct(self) -> dict[str, Any]:
        """`{"distinct", "more"}`: how many different values there are, and whether there are more than so many."""
        return {"distinct": self.counts.height if self.complete else self.most, "more": not self.complete}

    def cut(self) -> Self:
        """Itself, or the summary of it where it has too many values."""
        if self.counts.height <= self.most:
            return self
        number = pl.col("number")
        threshold = self.counts["number"].sort(descending=True)[self.most]
        counts = self.counts.filter(number > threshold).with_columns(number - threshold)
        return type(self)(counts=counts, most=self.most, complete=False)

    def recount(self, values: pl.Series) -> pl.DataFrame:
        """How often those values that are in this summary come in `values`."""
        return Frequencies.of(values, most=max(values.len(), 1)).counts.join(self.counts, on="value", how="semi")
