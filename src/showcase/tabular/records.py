"""The records of a file, some thousands at a time."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from pathlib import Path

from showcase.tabular.dialect import Dialect
from showcase.tabular.exceptions import UnreadableFileError
from showcase.tabular.lines import MOST_CHARACTERS, Lines

__all__ = ["MOST_LINES", "Chunk", "Rejected", "chunks"]

MOST_LINES = 100
MOST_WINDOW = 8192
CHUNK_BYTES = 4 * 1024 * 1024
LONGEST_TEXT = 1000


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A record that is no row. `line` is the physical line where it starts, from 1.

    `kind` is "fields", "empty line", "quote" or "huge field"; `text` is the record as it is in the file, without the
    end of its last line, cut to 1,000 characters.
    """

    line: int
    reason: str
    kind: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Records that follow each other. Each row has as many fields as there are columns; `lines[i]` is where it starts.

    `texts[i]` is the record as it is in the file, its line end included. `bytes_read` counts what has been read of the file so far, to compare with its size.
    """

    lines: list[int]
    rows: list[list[str]]
    texts: list[str]
    rejected: list[Rejected]
    bytes_read: int


def chunks(path: Path, dialect: Dialect, *, rows: int = 20_000) -> Iterator[Chunk]:
    """All records after the header, each exactly once, in the file's order, at most `rows` of them (or 4 MiB) at once.

    A record ends with its line, or with the line that closes its last quote. One that cannot be closed within 100 lines
    and 65,536 characters, or has text after a closing quote, is rejected with its first line only: the next line starts
    the next record. Raises `UnreadableFileError` where the file is no longer what it was when `dialect` was found, and
    `OSError` where it cannot be read.
    """
    with path.open("rb") as file:
        reader = _Reader(Lines(file, dialect.encoding), dialect)
        try:
            reader.skip_header()
            while (chunk := reader.chunk(rows)) is not None:
                yield chunk
        except UnicodeDecodeError:
            raise _changed() from None


def _changed() -> UnreadableFileError:
    return UnreadableFileError("The file changed while it was read. Upload it again.")


class _Reader:
    def __init__(self, lines: Lines, dialect: Dialect) -> None:
        self._lines = lines
        self._delimiter = dialect.delimiter
        self._columns = dialect.columns
        # How many lines to hand to the csv module at once. An open quote makes it read all of them for nothing: so
        # they are as few as a record may have after a failure, and more again only as records are read.
        self._window = MOST_LINES

    def skip_header(self) -> None:
        reader = csv.reader(self._lines.ahead(MOST_LINES, MOST_LINES), delimiter=self._delimiter, strict=True)
        try:
            header = next(reader, [])
        except csv.Error:
            raise _changed() from None
        if tuple(name.strip() for name in header) != self._columns:
            raise _changed()
        self._lines.skip(reader.line_num)

    def chunk(self, most: int) -> Chunk | None:
        """The next records; None after the last."""
        chunk = Chunk(lines=[], rows=[], texts=[], rejected=[], bytes_read=0)
        most_bytes = self._lines.bytes_read + CHUNK_BYTES
        while (left := most - len(chunk.rows) - len(chunk.rejected)) and self._lines.bytes_read < most_bytes:
            window = self._next_window()
            if not window:
                break
            self._read(window, left, chunk)
        if not chunk.rows and not chunk.rejected:
            return None
        return replace(chunk, bytes_read=self._lines.bytes_read)

    def _next_window(self) -> list[str]:
        window = self._lines.ahead(MOST_LINES, self._window)
        if self._window > MOST_LINES or sum(map(len, window)) <= MOST_CHARACTERS:
            return window
        # As much as the longest record may have, with the line that makes it too long.
        totals = accumulate(map(len, window))
        return window[: next(count for count, total in enumerate(totals, start=1) if total > MOST_CHARACTERS)]

    def _read(self, window: list[str], most: int, chunk: Chunk) -> None:
        """Add the window's records to the chunk, up to `most` and to the first that fails."""
        number = self._lines.number
        width = len(self._columns)
        short = max(map(len, window)) <= MOST_CHARACTERS
        reader = csv.reader(window, delimiter=self._delimiter, strict=True)
        start = 0
        try:
            for row in islice(reader, most):
                end = reader.line_num
                if short and end - start == 1:
                    text = window[start]
                elif _fits(window[start:end]):
                    text = "".join(window[start:end])
                else:
                    chunk.rejected.append(self._reject_line(window, start, end, ""))
                    return
                if len(row) == width:
                    chunk.lines.append(number + start)
                    chunk.rows.append(row)
                    chunk.texts.append(text)
                else:
                    chunk.rejected.append(_misfit(number + start, text, len(row), width))
                start = end
        except csv.Error as error:
            if start == 0 and self._window == MOST_LINES:
                chunk.rejected.append(self._reject_line(window, start, reader.line_num, str(error)))
            else:
                # It may go on behind the window: the next one starts with it.
                self._lines.skip(start)
                self._window = MOST_LINES
            return
        self._lines.skip(start)
        self._window = min(2 * self._window, MOST_WINDOW)

    def _reject_line(self, window: list[str], start: int, end: int, error: str) -> Rejected:
        """Give up the record that starts there, and pass its first line."""
        line = self._lines.number + start
        self._lines.skip(start + 1)
        self._window = MOST_LINES
        kind = "quote"
        if len(window[start]) > MOST_CHARACTERS:
            kind, reason = "huge field", f"more than {MOST_CHARACTERS:,} characters in one line"
        elif _fits(window[start:end]) and "expected after" in error:
            reason = f"text follows a closing quote in line {line + end - start - 1}"
        else:
            reason = f"a quote is not closed within {MOST_LINES} lines and {MOST_CHARACTERS:,} characters"
        return Rejected(line=line, reason=reason, kind=kind, text=_cut(window[start]))


def _fits(record: list[str]) -> bool:
    return len(record) <= MOST_LINES and sum(map(len, record)) <= MOST_CHARACTERS


def _misfit(line: int, record: str, fields: int, width: int) -> Rejected:
    if not fields:
        return Rejected(line=line, reason="the line is empty", kind="empty line", text="")
    counted = "1 field" if fields == 1 else f"{fields:,} fields"
    return Rejected(line=line, reason=f"{counted}, not {width}", kind="fields", text=_cut(record))


def _cut(record: str) -> str:
    return record[: LONGEST_TEXT + 2].rstrip("\r\n")[:LONGEST_TEXT]
