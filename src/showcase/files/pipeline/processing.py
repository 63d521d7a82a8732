"""What the accepted orders come to."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from showcase.files.pipeline import orders

__all__ = ["process"]

SHARE_ROWS = 500_000
TOP = 10
SUMS = {"orders": pl.len(), "revenue_cents": pl.col("cents").sum()}


def process(accepted: Path, *, cleaned: Path, tick: Callable[[int, int], None]) -> dict[str, Any]:
    """Write the accepted rows with their `total` as Parquet, and return what they come to, in whole cents.

    `orders`, `revenue_cents`, `first` and `last` (dates as text, None without orders), `customers` (how many names),
    `by_month` and `by_country` (each by its name: orders and revenue_cents), `top_products` and `top_customers` (the
    ten with the most revenue; of equal ones the first by name). `tick` is called with the rows done and all.
    """
    table = pl.scan_parquet(accepted)
    rows = table.select(pl.len()).collect().item()
    total = (pl.col("unit_price") * pl.col("quantity")).cast(orders.TOTAL)
    group = int(pl.read_parquet_metadata(accepted)["rows_per_group"])
    table.select(*orders.COLUMNS, total=total).sink_parquet(cleaned, row_group_size=group)
    tick(rows // 2, rows)
    # A sum of cents may be above 2^63.
    sales = pl.scan_parquet(cleaned).with_columns(cents=pl.col("total").to_physical().cast(pl.Int128))
    day = pl.col("ordered_on")
    whole = sales.select(**SUMS, first=day.min(), last=day.max()).collect(engine="streaming").row(0, named=True)
    months = _groups(sales, day.dt.year().cast(pl.Int32) * 100 + day.dt.month())
    countries = _groups(sales, pl.col("country"))
    shares = 1 + rows // SHARE_ROWS
    _, top_products = _top(sales, "product", shares)
    tick(rows * 3 // 4, rows)
    customers, top_customers = _top(sales, "customer", shares)
    tick(rows, rows)
    return {
        "orders": whole["orders"],
        "revenue_cents": whole["revenue_cents"],
        "first": _iso(whole["first"]),
        "last": _iso(whole["last"]),
        "customers": customers,
        "by_month": {f"{month // 100}-{month % 100:02}": sums for month, sums in months.items()},
        "by_country": countries,
        "top_products": top_products,
        "top_customers": top_customers,
    }


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _groups(sales: pl.LazyFrame, key: pl.Expr) -> dict[Any, dict[str, int]]:
    grouped = sales.group_by(key.alias("key")).agg(**SUMS).collect(engine="streaming").sort("key")
    return {row.pop("key"): row for row in grouped.iter_rows(named=True)}


def _top(sales: pl.LazyFrame, name: str, shares: int) -> tuple[int, list[dict[str, Any]]]:
    """How many different names there are, and those with the most revenue.

    The names are grouped share by share, so that those of a large file are never in memory together.
    """
    names = 0
    best: list[pl.DataFrame] = []
    for share in range(shares):
        part = sales.filter(pl.col(name).hash(0) % shares == share)
        grouped = part.group_by(name).agg(**SUMS).collect(engine="streaming")
        names += grouped.height
        best = [pl.concat([*best, grouped]).sort("revenue_cents", name, descending=[True, False]).head(TOP)]
    return names, best[0].to_dicts()
