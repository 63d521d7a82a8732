"""Parting a file of orders into the rows that are right and a list of those that are not."""

import csv
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, tee
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from showcase.files.pipeline import orders
from showcase.files.pipeline.duplicates import find_duplicates
from showcase.tabular import Chunk, Dialect, chunks, sniff, texts

__all__ = ["validate"]

ROW_GROUP = 65_536
NOTHING = Chunk(lines=[], rows=[], rejected=[], bytes_read=0)


def validate(source: Path, *, accepted: Path, rejects: Path, tick: Callable[[int, int], None]) -> dict[str, Any]:
    """Write the accepted rows as Parquet, with the line each starts at, and the others as CSV: line, reason, kind, text.

    A row whose order number an accepted earlier line has is rejected as a duplicate. `tick` is called with the bytes
    read and the bytes of the file. Parts of the table are kept beside `accepted` meanwhile, so that memory does not
    grow with the file. Raises `UnreadableFileError` for what is no CSV with the columns of `orders`.
    """
    dialect = sniff(source)
    places = orders.places(dialect.columns)
    size = source.stat().st_size
    kinds: Counter[str] = Counter()
    rows = 0
    with TemporaryDirectory(dir=accepted.parent, prefix="validate-") as name:
        good_part, bad_part = Path(name, "good-{:08}.parquet"), Path(name, "bad-{:08}.parquet")
        # With a part that is empty there is always one, and its columns have their types.
        for part, chunk in enumerate(chain([NOTHING], chunks(source, dialect))):
            good, bad = _sort(chunk, places)
            good.write_parquet(str(good_part).format(part), compression="uncompressed", statistics=False)
            bad.write_parquet(str(bad_part).format(part), compression="uncompressed", statistics=False)
            rows += good.height + bad.height
            kinds.update(bad["kind"])
            tick(min(chunk.bytes_read, size), size)
        table = pl.scan_parquet(Path(name, "good-*.parquet")).select("line", *orders.COLUMNS)
        duplicates = find_duplicates(table, rows)
        table.join(duplicates.lazy(), on="line", how="anti", maintain_order="left").sink_parquet(
            accepted, compression="lz4", row_group_size=ROW_GROUP
        )
        with rejects.open("wb") as file:
            ...
        if duplicates.height:
            kinds["duplicate"] = duplicates.height
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
    """The rows that are right, typed, and the line, reason and kind of all others."""
    columns = list(zip(*chunk.rows, strict=True)) or [()] * len(places)
    values = {name: pl.Series(columns[place], dtype=pl.String) for name, place in places.items()}
    good, bad = orders.check(pl.DataFrame({"line": pl.Series(chunk.lines, dtype=pl.Int64), **values}))
    unread = {name: [getattr(each, name) for each in chunk.rejected] for name in bad.columns}
    return good, pl.concat([bad, pl.DataFrame(unread, schema=bad.schema)]).sort("line")


def _by_line(parts: Iterable[pl.DataFrame], duplicates: pl.DataFrame) -> Iterator[tuple[int, str, str]]:
    """What was rejected in each part, and the duplicates, by line."""
    yield from heapq.merge((row for part in parts for row in part.iter_rows()), duplicates.iter_rows())


def _write(rejects: Path, rejected: Iterable[tuple[int, str, str]], source: Path, dialect: Dialect) -> None:
    rows, again = tee(rejected)
    with rejects.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("line", "reason", "kind", "text"))
        for row, text in zip(rows, texts(source, dialect, (line for line, _, _ in again)), strict=True):
            writer.writerow((*row, text))
