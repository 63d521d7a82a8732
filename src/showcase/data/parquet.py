"""Measurements as Parquet."""

from pathlib import Path

import polars as pl

__all__ = ["convert"]

SCHEMA = {
    "sensor": pl.String(),
    "taken_at": pl.String(),
    "temperature": pl.Float64(),
    "humidity": pl.Float64(),
    "pressure": pl.Float64(),
    "vibration": pl.Float64(),
    "status": pl.String(),
    "battery": pl.Int64(),
}


def convert(source: Path, target: Path) -> None:
    """Write the measurements of a CSV as Parquet with the same values, piece by piece."""
    table = pl.scan_csv(source, schema=SCHEMA)
    table.with_columns(pl.col("taken_at").str.to_datetime("%Y-%m-%dT%H:%M:%S")).sink_parquet(target)
