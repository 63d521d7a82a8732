"""How a file is written: its encoding, its delimiter and the columns that its header names."""

import codecs
import csv
import re
from dataclasses import dataclass
from pathlib import Path

from showcase.tabular.encoding import find_encoding
from showcase.tabular.exceptions import UnreadableFileError
from showcase.tabular.lines import BLOCK, MOST_CHARACTERS, Lines

__all__ = ["Dialect", "sniff"]

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_LINES = 100
NUMBER = re.compile(r"[-+]?[0-9]+([.,][0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How to read a file. `encoding` is a codec's name: utf-8, utf-8-sig, utf-16 or cp1252.

    `delimiter` is one of comma, semicolon, tab and bar; `columns` are the header's names, without the space around
    them, in the file's order, no two the same.
    """

    encoding: str
    delimiter: str
    columns: tuple[str, ...]


def sniff(path: Path, *, most_columns: int = 200) -> Dialect:
    """Find how a file is written. All of it is read once, in little memory.

    The delimiter is the one with which most of the first lines have as many fields as the header. Raises
    `UnreadableFileError` for what is no text (see `find_encoding`), for a header that is missing, has empty or repeated
    names, quotes that do not match, more than `most_columns` columns or 65,536 characters; `OSError` for a file that
    cannot be opened.
    """
    encoding = find_encoding(path)
    with path.open("rb") as file:
        lines = Lines(file, encoding)
        first = "".join(lines.ahead(1, 1))
        if not first.strip():
            raise UnreadableFileError("The first line is empty: it must name the columns.")
        if len(first) > MOST_CHARACTERS:
            raise _too_long(path, encoding, most_columns)
        sample = lines.ahead(SAMPLE_LINES, SAMPLE_LINES)
    scored = {delimiter: found for delimiter in DELIMITERS if (found := _score(sample, delimiter))}
    # The first of the best, so that a file of one column has a comma.
    delimiter = max(scored, key=lambda each: scored[each][:2], default="")
    columns = tuple(name.strip() for name in scored[delimiter][2]) if scored else ()
    if not columns or (len(columns) == 1 and '"' in columns[0]):
        raise UnreadableFileError("The quotes in the first line do not match. Close each, and double those in a name.")
    _check(columns, most_columns)
    return Dialect(encoding=encoding, delimiter=delimiter, columns=columns)


def _score(sample: list[str], delimiter: str) -> tuple[int, int, list[str]] | None:
    """How many records have the header's number of fields (0 for one field), that number, and the header."""
    reader = csv.reader(sample, delimiter=delimiter, strict=True)
    fitting = 0
    try:
        header = next(reader)
    except csv.Error:
        return None
    try:
        for row in reader:
            fitting += len(row) == len(header)
    except csv.Error:
        pass  # What the sample has up to here tells enough.
    return (fitting + 1 if len(header) > 1 else 0), len(header), header


def _check(columns: tuple[str, ...], most: int) -> None:
    if len(columns) > most:
        raise _too_many(len(columns), most)
    if not any(columns) or all(NUMBER.fullmatch(name) for name in columns):
        shown = ", ".join(columns)[:100]
        raise UnreadableFileError(f"The first line must name the columns, but it holds: {shown!r}. Add a header.")
    places: dict[str, int] = {}
    for place, name in enumerate(columns, start=1):
        if not name:
            raise UnreadableFileError(f"Column {place} of {len(columns)} has no name. Name it in the first line.")
        if name in places:
            raise UnreadableFileError(
                f"Columns {places[name]} and {place} are both named {name[:100]!r}. Give each a name of its own."
            )
        places[name] = place


def _too_many(columns: int, most: int) -> UnreadableFileError:
    return UnreadableFileError(f"The first line has {columns:,} columns; the most is {most:,}. Leave some out.")


def _too_long(path: Path, encoding: str, most_columns: int) -> UnreadableFileError:
    """What is wrong with a first line that is not to be held in memory: its fields are only counted."""
    decoder = codecs.getincrementaldecoder(encoding)()
    counts = dict.fromkeys(DELIMITERS, 0)
    characters = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            text = decoder.decode(block)
            line = re.split(r"[\r\n]", text, maxsplit=1)[0]
            characters += len(line)
            for delimiter in DELIMITERS:
                counts[delimiter] += line.count(delimiter)
            if len(line) < len(text):
                break
    columns = max(counts.values()) + 1
    if columns > most_columns:
        return _too_many(columns, most_columns)
    return UnreadableFileError(
        f"The first line has {characters:,} characters; the most is {MOST_CHARACTERS:,}. Give the columns short names."
    )
