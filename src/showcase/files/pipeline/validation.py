"""Parting a file of orders into the rows that are right and a list of those that are not."""

from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from showcase.files.pipeline import orders
from showcase.files.pipeline.duplicates import find_duplicates
from showcase.tabular import Chunk, chunks, sniff

__all__ = ["validate"]

ROWS = 20_000
LONGEST_TEXT = 1000
NOTHING = Chunk(lines=[], rows=[], texts=[], rejected=[], bytes_read=0)


def validate(source: Path, *, accepted: Path, rejects: Path, tick: Callable[[int, int], None]) -> dict[str, Any]:
    """Write the accepted rows as Parquet, with the line each starts at, and the others as CSV: line, reason, kind, text.

    A row whose order number an accepted earlier line has is rejected as a duplicate. `tick` is called with the bytes
    read and the bytes of the file. Parts of both tables are kept beside `accepted` meanwhile, about as large as the
    file, so that memory does not grow with it. Raises `UnreadableFileError` for what is no CSV with the columns of
    `orders`.
    """
    dialect = sniff(source)
    places = orders.places(dialect.columns)
    size = source.stat().st_size
    kinds: Counter[str] = Counter()
    rows = 0
    # A row group is held in memory as a whole, so none has more rows than the fewest of a chunk that is full.
    group = ROWS
    with TemporaryDirectory(dir=accepted.parent, prefix="validate-") as name:
        folder = Path(name)
        # With a part that is empty there is always one, and its columns have their types.
        for part, chunk in enumerate(chain([NOTHING], chunks(source, dialect, rows=ROWS))):
            if 0 < chunk.bytes_read < size:
                group = min(group, len(chunk.rows) + len(chunk.rejected))
            good, bad = _sort(chunk, places)
            good.write_parquet(folder / f"good-{part:08}.parquet", compression="uncompressed", statistics=False)
            bad.write_parquet(folder / f"bad-{part:08}.parquet", compression="uncompressed", statistics=False)
            rows += good.height + bad.height
            kinds.update(bad["kind"])
            tick(min(chunk.bytes_read, size), size)
        table = pl.scan_parquet(folder / "good-*.parquet").select("line", *orders.COLUMNS)
        duplicates = find_duplicates(table, rows)
        kinds.update({"duplicate": duplicates.height} if duplicates.height else {})
        table.join(duplicates.lazy(), on="line", how="anti", maintain_order="left").sink_parquet(
            accepted, compression="lz4", row_group_size=group, metadata={"rows_per_group": str(group)}
        )
        _write(rejects, folder, duplicates)
    return {
        "rows": rows,
        "accepted": rows - kinds.total(),
        "rejected": kinds.total(),
        "kinds": dict(sorted(kinds.items())),
        "encoding": dialect.encoding,
        "delimiter": dialect.delimiter,
        "bytes": size,
    }


def _sort(chunk: Chunk, places: dict[str, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that are right, typed, and all others as they are reported; both with their text."""
    columns = list(zip(*chunk.rows, strict=True)) or [()] * len(places)
    values = {name: pl.Series(columns[place], dtype=pl.String) for name, place in places.items()}
    values["line"] = pl.Series(chunk.lines, dtype=pl.Int64)
    values["text"] = pl.Series(chunk.texts, dtype=pl.String).str.strip_chars_end("\r\n").str.head(LONGEST_TEXT)
    good, bad = orders.check(pl.DataFrame(values))
    unread = {name: [getattr(each, name) for each in chunk.rejected] for name in bad.columns}
    return good, pl.concat([bad, pl.DataFrame(unread, schema=bad.schema)])


def _write(rejects: Path, parts: Path, duplicates: pl.DataFrame) -> None:
    """Write what is rejected in each part, and what is a duplicate in it, by line."""
    reason = pl.format("order_id is '{}': line {} has it already", "order_id", "first")
    with rejects.open("w", encoding="utf-8") as file:
        file.write("line,reason,kind,text\n")
        for good, bad in zip(sorted(parts.glob("good-*")), sorted(parts.glob("bad-*")), strict=True):
            again = pl.read_parquet(good, columns=["line", "order_id", "text"]).join(duplicates, on="line")
            found = again.select("line", reason.alias("reason"), pl.lit("duplicate").alias("kind"), "text")
            pl.concat([pl.read_parquet(bad), found]).sort("line").write_csv(file, include_header=False)
