"""Writing a file whole or not at all, with its expected findings beside it."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import batched
from pathlib import Path
from typing import Any

__all__ = ["DataFileError", "check_free", "check_rows", "expected_path", "replacing", "write_expected", "write_text"]

MOST_ROWS = 100_000_000
BATCH = 1000


class DataFileError(ValueError):
    """A file cannot be made as asked; the message names what is wrong and what to do."""


def expected_path(path: Path) -> Path:
    """Where the expected findings of a file are: beside it, with `.expected.json` after its whole name."""
    return path.with_name(f"{path.name}.expected.json")


def check_rows(rows: int) -> None:
    """Raise `DataFileError` unless so many rows can be made."""
    if not 1 <= rows <= MOST_ROWS:
        raise DataFileError(f"rows is {rows}, but must be a whole number from 1 to {MOST_ROWS:,}.")


def check_free(path: Path, *, force: bool) -> None:
    """Raise `DataFileError` where the file or its findings exist, unless `force` is set."""
    for existing in (path, expected_path(path)):
        if existing.exists() and not force:
            raise DataFileError(f"{existing} exists: name another output, or force (--force) to write over it.")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Lend a path to write to, which takes `path`'s place at the end; after an error it is gone.

    Raises `DataFileError` where it cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataFileError(f"{path} cannot be written: {reason}. Name an output where you may write.") from error
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    # Where its folder is none, there is nothing to remove, and the error was said.
    if part.parent.is_dir():
        part.unlink(missing_ok=True)


def write_text(path: Path, chunks: Iterable[str], *, encoding: str) -> None:
    """Write text in an encoding; UTF-16 with its byte order mark, little-endian on every machine."""
    codec = "utf-16-le" if encoding == "utf-16" else encoding
    with path.open("w", encoding=codec, newline="") as file:
        if encoding == "utf-16":
            file.write("\ufeff")
        for batch in batched(chunks, BATCH):
            file.write("".join(batch))


def write_expected(path: Path, findings: dict[str, Any]) -> None:
    """Write the findings of the file at `path` beside it."""
    with replacing(expected_path(path)) as part:
        part.write_text(json.dumps(findings, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
