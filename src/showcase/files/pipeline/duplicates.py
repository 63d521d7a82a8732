"""Order numbers that came before in the same file."""

import polars as pl

__all__ = ["find_duplicates"]

SHARE_ROWS = 250_000


def find_duplicates(accepted: pl.LazyFrame, rows: int) -> pl.DataFrame:
    """The `line` of each row whose order number an earlier line has, and the `first` that has it, sorted by line.

    The numbers are compared share by share, so that those of a large file are never in memory together.
    """
    shares = 1 + rows // SHARE_ROWS
    numbers = accepted.select("order_id", "line")
    first = pl.col("line").min().over("order_id")
    found = [
        numbers.filter(pl.col("order_id") % shares == share)
        .collect(engine="streaming")
        .filter(pl.col("order_id").is_duplicated())
        .with_columns(first=first)
        .filter(pl.col("line") > pl.col("first"))
        .select("line", "first")
        for share in range(shares)
    ]
    return pl.concat(found).sort("line")
