"""Reading a CSV of recipients: what can be sent, and why the rest cannot."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

__all__ = ["MOST_BYTES", "MOST_ROWS", "Person", "Rejection", "UnreadableFileError", "read"]

MOST_ROWS = 10_000
MOST_BYTES = 2 * 1024 * 1024
LONGEST_EMAIL = 254
LONGEST_NAME = 200
COLUMNS = ("email", "name")


class UnreadableFileError(ValueError):
    """The file as a whole cannot be used; the message says why and what to change."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """A row that can be sent. `line` is its line in the file, from 1."""

    line: int
    email: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A row that cannot, and why."""

    line: int
    reason: str


def read(content: bytes) -> tuple[list[Person], list[Rejection]]:
    """Split the rows of a CSV with the columns `email` and, if it has one, `name`.

    Empty rows are skipped. An address that came before, whatever its case, is rejected. Raises `UnreadableFileError`
    where the file is no CSV with these columns, is above 2 MiB or has above 10,000 rows.
    """
    if len(content) > MOST_BYTES:
        raise UnreadableFileError(f"The file has {len(content):,} bytes; the most is {MOST_BYTES:,}. Split it.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableFileError(f"Line {line} is not UTF-8. Save the file as UTF-8 text.") from None
    if "\0" in text:
        raise UnreadableFileError("The file holds NUL characters, so it is no text. Save it as CSV in UTF-8.")
    rows = _rows(text)
    columns = _columns(next(rows, (1, []))[1])
    persons: list[Person] = []
    rejections: list[Rejection] = []
    first_lines: dict[str, int] = {}
    for count, (line, row) in enumerate(rows, start=1):
        if count > MOST_ROWS:
            raise UnreadableFileError(f"The file has more than {MOST_ROWS:,} rows. Split it.")
        result = _person(line, row, columns, first_lines)
        if isinstance(result, Person):
            persons.append(result)
        else:
            rejections.append(result)
    if not persons and not rejections:
        raise UnreadableFileError("The file has a header but no rows.")
    return persons, rejections


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with the line it starts on."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line, [cell.strip() for cell in row]
            line = reader.line_num + 1
    except csv.Error as error:
        raise UnreadableFileError(f"Line {line} is not CSV: {error}.") from None


def _columns(header: list[str]) -> dict[str, int]:
    names = [name.lower() for name in header]
    if "email" not in names:
        found = ", ".join(names) if names else "nothing"
        hint = " Separate the columns with commas." if any(";" in name or "\t" in name for name in names) else ""
        raise UnreadableFileError(
            f"The first line must name the columns email and name, but it has: {found[:200]}.{hint}"
        )
    return {name: names.index(name) for name in COLUMNS if name in names}


def _person(line: int, row: list[str], columns: dict[str, int], first_lines: dict[str, int]) -> Person | Rejection:
    email, name = (row[columns[column]] if columns.get(column, len(row)) < len(row) else "" for column in COLUMNS)
    if not email:
        return Rejection(line=line, reason="It has no address.")
    try:
        validate_email(email)
    except ValidationError:
        return Rejection(line=line, reason=f"{email[:LONGEST_EMAIL]!r} is no email address.")
    if len(email) > LONGEST_EMAIL:
        return Rejection(line=line, reason=f"The address is longer than {LONGEST_EMAIL} characters.")
    if len(name) > LONGEST_NAME:
        return Rejection(line=line, reason=f"The name is longer than {LONGEST_NAME} characters.")
    if any(not character.isprintable() for character in name):
        return Rejection(line=line, reason="The name holds a line break or another character that cannot be shown.")
    first = first_lines.setdefault(email.lower(), line)
    if first != line:
        return Rejection(line=line, reason=f"The same address as in line {first}.")
    return Person(line=line, email=email, name=name)
