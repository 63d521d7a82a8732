"""What the ledger can keep: bounded JSON, seconds, names and plain text. What it cannot is refused by name.

A write that PostgreSQL refuses for its content never succeeds, however often it is tried: so nothing reaches a
statement that did not pass here.
"""

import json
import math
import re
from contextlib import suppress
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import Any, Final, NoReturn
from uuid import UUID

from django.utils.json import normalize_json

__all__ = [
    "LONGEST",
    "InvalidValue",
    "decode",
    "encode",
    "moment",
    "name",
    "number",
    "plain",
    "said",
    "seconds",
    "shown",
]

LONGEST: Final = 366 * 86_400.0
"""The longest delay in seconds: far inside what the times of PostgreSQL and of the engines take."""

_DEEPEST: Final = 200
"""Lists and objects within each other. PostgreSQL takes some 8,000, Python's own recursion far fewer."""

_JSON: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKET: Final = re.compile(r"[\[\]{}]")
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class InvalidValue(ValueError):
    """A value that the ledger cannot keep; the message names it and what it must be."""


def encode(value: Any, *, what: str, limit: int) -> str:
    """Encode `value` as JSON that PostgreSQL keeps and every process reads back, of at most `limit` bytes.

    Raises `InvalidValue` naming `what`; its cause is the error of Django's own rule for what is not JSON.
    """
    try:
        text = _encoded(value)
    except Exception as error:  # a value's own methods may raise anything
        raise InvalidValue(f"{what} cannot be kept as JSON: {said(error)}.") from error
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidValue(
            f"{what} cannot be kept as JSON: {error.object[error.start]!r} is half of a character, which UTF-8 lacks."
            " Decode bytes with errors='replace', or pass them in base64."
        ) from error
    if size > limit:
        raise InvalidValue(f"{what} cannot be kept as JSON: {size:,} bytes, above the limit of {limit:,}.")
    if "\\u0000" in text and _NUL.search(text):
        raise InvalidValue(f"{what} cannot be kept as JSON: a NUL character, which PostgreSQL cannot store.")
    _refuse_depth(text, what)
    return text


def _encoded(value: Any) -> str:
    try:
        return _JSON.encode(value)
    except TypeError:
        return _JSON.encode(normalize_json(value))


def decode(body: bytes, *, what: str, limit: int) -> Any:
    """Read JSON that a stranger sent, as bounded as what `encode` writes; raises `InvalidValue` naming `what`."""
    if len(body) > limit:
        raise InvalidValue(f"{what} cannot be kept as JSON: {len(body):,} bytes, above the limit of {limit:,}.")
    try:
        text = body.decode(json.detect_encoding(body))
        # Before it is parsed: the parser recurses.
        _refuse_depth(text, what)
        value = json.loads(text, parse_constant=_refuse_constant)
    except InvalidValue:
        raise
    except ValueError as error:
        raise InvalidValue(f"{what} cannot be kept as JSON: {said(error)}.") from error
    encode(value, what=what, limit=limit)
    return value


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _refuse_depth(text: str, what: str) -> None:
    if text.count("[") + text.count("{") <= _DEEPEST:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > _DEEPEST:
            raise InvalidValue(f"{what} cannot be kept as JSON: nested more than {_DEEPEST} levels deep.")


def number(value: object, *, what: str) -> float:
    """Read a finite number; raises `InvalidValue` naming `what`."""
    read = float("nan")
    # Whatever its type's own methods raise, it is no number.
    with suppress(Exception):
        if not isinstance(value, str | bytes):
            read = float(value)  # type: ignore[arg-type]  # it says itself whether it is a number
    if not math.isfinite(read):
        raise InvalidValue(f"{what} is {shown(value)}, but must be a finite number.")
    return read


def seconds(value: object, *, what: str, least: float = 0.0) -> float:
    """Read a duration, in seconds or as a timedelta; raises `InvalidValue` naming `what` outside `least` to `LONGEST`."""
    read = value.total_seconds() if isinstance(value, timedelta) else number(value, what=what)
    if not least <= read <= LONGEST:
        raise InvalidValue(f"{what} is {shown(value)}, but must be from {least:g} seconds to 366 days.")
    return read


def moment(value: object, *, what: str) -> datetime:
    """Read a time that every process can read back, whatever its time zone; raises `InvalidValue` naming `what`."""
    # A time zone's own methods may raise anything.
    with suppress(Exception):
        if isinstance(value, datetime) and value.astimezone(UTC).year < MAXYEAR:
            return value
    raise InvalidValue(f"{what} is {shown(value)}, but must be a datetime before the year {MAXYEAR}.")


def name(value: object, *, what: str, most: int, least: int = 1) -> str:
    """Read a name or what a primary key is (text, a whole number, a UUID), as text of `least` to `most` characters.

    Raises `InvalidValue` naming `what`.
    """
    text: str | None = None
    # A whole number of too many digits.
    with suppress(ValueError):
        if isinstance(value, str):
            text = str.__str__(value)
        elif isinstance(value, int | UUID) and not isinstance(value, bool):
            text = str(value)
    if text is None or not least <= len(text) <= most or text != plain(text):
        raise InvalidValue(
            f"{what} is {shown(value)}, but must have {least} to {most} characters (or be a whole number or a UUID),"
            " none of them NUL or half of a character."
        )
    return text


def plain(text: str) -> str:
    """The same text where PostgreSQL can keep it; what it cannot is written as Python would escape it."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\0")


def said(error: BaseException) -> str:
    """What an error says, in plain text; its type where its own methods fail."""
    message = ""
    with suppress(Exception):
        message = str(error)
    kind = plain(type(error).__name__)
    return f"{kind}: {plain(message)[:2_000]}" if message else kind


def shown(value: object) -> str:
    """A value as Python writes it, cut short, in plain text; its type where its own methods fail."""
    with suppress(Exception):
        return plain(repr(value))[:100]
    return f"a {plain(type(value).__name__)}"
