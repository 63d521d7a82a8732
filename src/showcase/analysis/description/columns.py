"""Describing one column of a prepared file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from showcase.analysis.description.numbers import describe_numbers
from showcase.analysis.description.scanning import Column
from showcase.analysis.description.texts import describe_booleans, describe_texts
from showcase.analysis.description.times import describe_times

__all__ = ["describe_column"]

DESCRIBE: dict[str, Callable[[Column, Path | None], dict[str, Any]]] = {
    "integer": describe_numbers,
    "decimal number": describe_numbers,
    "date": describe_times,
    "timestamp": describe_times,
    "text": describe_texts,
    "boolean": describe_booleans,
}


def describe_column(
    source: Path, name: str, *, histogram: Path | None, tick: Callable[[int, int], None]
) -> dict[str, Any]:
    """Describe a column of a file that `prepare` wrote, and draw it as a PNG at `histogram`.

    `{"name", "type", "rows", "count", "missing"}`, where `count` is without the missing ones. Beside them, but for
    empty, binary and nested columns: `"distinct"` and `"more"`, whether there are more different values than that;
    `"drawn"`, whether there is a picture; and by type `"numbers"`, `"texts"`, `"times"` or `"booleans"` (see the
    function of that name). `tick` gets how many chunks are done and how many there are, over two passes.
    """
    column = Column(source, name, tick=tick)
    missing = int(column.aggregate(missing=column.value.null_count())["missing"])
    found = {
        "name": name,
        "type": column.type,
        "rows": column.rows,
        "count": column.rows - missing,
        "missing": missing,
        "drawn": False,
    }
    if column.type in DESCRIBE:
        found |= DESCRIBE[column.type](column, histogram)
    column.finish()
    return found
