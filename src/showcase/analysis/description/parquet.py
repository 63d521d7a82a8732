"""Reading Parquet a chunk of rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
from polars import selectors

__all__ = ["CHUNK_ROWS", "chunk_count", "count_rows", "exactly", "read_chunks", "type_name"]

CHUNK_ROWS = 50_000

_NAMES: dict[type[pl.DataType], str] = {
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.Datetime: "timestamp",
    pl.String: "text",
    pl.Null: "empty",
    pl.Binary: "binary",
}


def type_name(dtype: pl.DataType) -> str:
    """What people call the type of a prepared column; "nested" also for what has no name of its own."""
    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "decimal number"
    return _NAMES.get(type(dtype), "nested")


def exactly(name: str) -> pl.Expr:
    """The column of exactly that name; `polars.col` takes `*` and `^...$` for patterns."""
    return selectors.by_name(name).as_expr()


def count_rows(source: Path) -> int:
    """How many rows a Parquet file has, by its footer."""
    return int(pl.scan_parquet(source, glob=False).select(pl.len()).collect().item())


def chunk_count(rows: int) -> int:
    """How many chunks `read_chunks` makes of so many rows."""
    return -(-rows // CHUNK_ROWS)


def read_chunks(source: Path, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Some columns of a Parquet file, at most `CHUNK_ROWS` rows at once, always split in the same places."""
    chosen = pl.scan_parquet(source, glob=False).select(selectors.by_name(*names))
    for start in range(0, count_rows(source), CHUNK_ROWS):
        yield chosen.slice(start, CHUNK_ROWS).collect()
