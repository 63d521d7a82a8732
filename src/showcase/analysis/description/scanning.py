"""One column of a prepared file, and how far its passes are."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from showcase.analysis.description.parquet import chunk_count, count_rows, exactly, read_chunks, type_name

__all__ = ["Column"]

PASSES = 2


class Column:
    """A column that is read from its file in at most two passes, chunk by chunk.

    `tick` gets how many chunks are done and how many there are over both. Raises `ValueError` for a name that is not in
    the file.
    """

    def __init__(self, source: Path, name: str, *, tick: Callable[[int, int], None]) -> None:
        schema = pl.scan_parquet(source, glob=False).collect_schema()
        if name not in schema:
            raise ValueError(f"There is no column {name!r}: choose one of {', '.join(schema)[:200]}.")
        self.name = name
        self.value = exactly(name)
        self.dtype = schema[name]
        self.type = type_name(self.dtype)
        self.rows = count_rows(source)
        self._source = source
        self._tick = tick
        self._done = 0
        self._total = max(PASSES * chunk_count(self.rows), 1)

    def aggregate(self, **expressions: pl.Expr) -> dict[str, Any]:
        """What some aggregations over all rows answer."""
        chosen = pl.scan_parquet(self._source, glob=False).select(**expressions)
        return chosen.collect(engine="streaming").row(0, named=True)

    def chunks(self) -> Iterator[pl.Series]:
        """A pass over its values."""
        for frame in read_chunks(self._source, [self.name]):
            yield frame.to_series()
            self._done += 1
            self._tick(self._done, self._total)

    def finish(self) -> None:
        """Tell that no pass is left."""
        if self._done < self._total:
            self._tick(self._total, self._total)
