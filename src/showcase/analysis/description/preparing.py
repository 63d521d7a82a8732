"""Making one typed Parquet file of what was uploaded."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from showcase.analysis.description.inference import Inference, without_missing
from showcase.analysis.description.parquet import CHUNK_ROWS, count_rows, exactly, type_name
from showcase.tabular import UnreadableFileError, chunks, sniff

__all__ = ["prepare"]

MOST_COLUMNS = 200
MOST_ROWS = 20_000_000
LONGEST_NAME = 300
MAGIC = b"PAR1"
FIRST_CONTROL = 32
SHOWN_ERROR = 200


def prepare(source: Path, *, target: Path, tick: Callable[[int, int], None]) -> dict[str, Any]:
    """Write a CSV or a Parquet file as one Parquet file with a type for each column; answers what was found.

    Of a CSV, records that are no rows are left out and counted by kind; empty, NA, N/A, null, NaN, None and - are
    missing. Of a Parquet file, NaN is missing. `tick` gets what is done and the total, in bytes or in rows.
    `{"rows", "rejected", "kinds": {kind: number}, "columns": [{"name", "type"}]}`.

    Raises `UnreadableFileError` for what is neither, for a damaged file, above 200 columns, and for Parquet above
    20,000,000 rows or with a name of a column above 300 characters. Parts of the file are kept in a folder beside `target` while this runs.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="parts-") as folder:
        write = _parquet if _is_parquet(source) else _csv
        return write(source, target, Path(folder), tick)


def _is_parquet(source: Path) -> bool:
    with source.open("rb") as file:
        head = file.read(len(MAGIC) + 1)
    # A CSV may start with those letters too, but goes on with text.
    if head.startswith(MAGIC) and (len(head) == len(MAGIC) or head[-1] < FIRST_CONTROL) and head[-1:] not in b"\t\r\n":
        return True
    if source.suffix.lower() == ".parquet":
        raise UnreadableFileError(
            "The file is named .parquet but is no Parquet file. Upload the file itself, or a CSV."
        )
    return False


def _csv(source: Path, target: Path, folder: Path, tick: Callable[[int, int], None]) -> dict[str, Any]:
    dialect = sniff(source, most_columns=MOST_COLUMNS)
    total = source.stat().st_size
    inference = Inference(dialect.columns, decimal_comma=dialect.delimiter == ";")
    kinds: Counter[str] = Counter()
    schema = pl.Schema(dict.fromkeys(dialect.columns, pl.String()))
    parts = _Parts(folder)
    for chunk in chunks(source, dialect):
        kinds.update(rejected.kind for rejected in chunk.rejected)
        # The types are known only at the end, so what was read is kept as texts until then.
        texts = pl.DataFrame(chunk.rows, schema=schema, orient="row").with_columns(without_missing(pl.all()))
        inference.see(texts)
        parts.add(texts)
        tick(chunk.bytes_read, total)
    parts.join(target, schema, inference.expressions())
    return {"rows": parts.rows, "rejected": kinds.total(), "kinds": dict(kinds), "columns": inference.types()}


def _parquet(source: Path, target: Path, folder: Path, tick: Callable[[int, int], None]) -> dict[str, Any]:
    with _damage():
        scan = pl.scan_parquet(source, glob=False)
        schema = scan.collect_schema()
        rows = count_rows(source)
    if not schema:
        raise UnreadableFileError("The Parquet file has no columns. Write it again with at least one.")
    for place, name in enumerate(schema, start=1):
        if len(name) > LONGEST_NAME or "\0" in name:
            raise UnreadableFileError(
                f"The name of column {place} is longer than {LONGEST_NAME} characters or holds a NUL. Rename it."
            )
    if len(schema) > MOST_COLUMNS:
        raise UnreadableFileError(f"The file has {len(schema):,} columns; the most is {MOST_COLUMNS}. Leave some out.")
    if rows > MOST_ROWS:
        raise UnreadableFileError(f"The file has {rows:,} rows; the most is {MOST_ROWS:,}. Split it.")
    known = scan.select(_known(name, dtype) for name, dtype in schema.items())
    parts = _Parts(folder)
    with _damage():
        for frame in known.collect_batches(chunk_size=CHUNK_ROWS, maintain_order=True):
            parts.add(frame)
            tick(min(parts.rows, rows), rows)
        prepared = known.collect_schema()
        parts.join(target, prepared, [pl.all()])
    columns = [{"name": name, "type": type_name(dtype)} for name, dtype in prepared.items()]
    return {"rows": parts.rows, "rejected": 0, "kinds": {}, "columns": columns}


def _known(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as one of the types that are described."""
    column = exactly(name)
    if dtype.is_float():
        return column.cast(pl.Float64).fill_nan(None)
    if dtype.is_decimal():
        return column.cast(pl.Float64)
    if isinstance(dtype, pl.Datetime):
        return column.cast(pl.Datetime("us", "UTC" if dtype.time_zone else None))
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum, pl.Time)):
        # PostgreSQL keeps no NUL, and no CSV may hold one.
        return column.cast(pl.String).str.replace_all("\0", "\N{REPLACEMENT CHARACTER}", literal=True)
    if isinstance(dtype, pl.Duration):
        return column.dt.total_seconds(fractional=True)
    return column


class _Parts:
    """Rows on disk in as many files as they came in."""

    def __init__(self, folder: Path) -> None:
        self.rows = 0
        self._folder = folder
        self._paths: list[Path] = []

    def add(self, frame: pl.DataFrame) -> None:
        path = self._folder / f"{len(self._paths):06}.parquet"
        frame.write_parquet(path, compression="lz4", statistics=False)
        self._paths.append(path)
        self.rows += frame.height

    def join(self, target: Path, schema: pl.Schema, expressions: Sequence[pl.Expr]) -> None:
        """Write all of them as one file."""
        if not self._paths:
            self.add(pl.DataFrame(schema=schema))
        pl.scan_parquet(self._paths, glob=False).select(expressions).sink_parquet(target, row_group_size=CHUNK_ROWS)


@contextmanager
def _damage() -> Iterator[None]:
    """Say in plain words what is wrong with a Parquet file."""
    try:
        yield
    # A panic is how Polars ends on some damage; it is no subclass of Exception.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFileError(
            f"The Parquet file is damaged: {reason[:SHOWN_ERROR]}. Write it again and upload it anew."
        ) from None
