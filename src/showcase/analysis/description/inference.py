"""Which type the texts of a column are written in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from showcase.analysis.description.parquet import exactly

__all__ = ["Inference", "without_missing"]

MISSING = ("", "NA", "N/A", "null", "NaN", "None", "-")
WHOLE = r"^-?(?:0|[1-9][0-9]*)$"
POINT = r"^-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
COMMA = r"^-?(?:0|[1-9][0-9]*)(?:,[0-9]+)?$"
INFINITE = r"^-?(?i:inf|infinity)$"
ISO_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
GERMAN_DATE = r"^[0-9]{2}\.[0-9]{2}\.[0-9]{4}$"
LOCAL_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?$"
ZONED_TIME = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:[zZ]|[+-][0-9]{2}:?[0-9]{2})$"
)
TRUE = ("true", "yes")
FALSE = ("false", "no")


def without_missing(column: pl.Expr) -> pl.Expr:
    """The texts without the space around them, and null for those that say that nothing is there."""
    stripped = column.str.strip_chars()
    return pl.when(~stripped.is_in(MISSING)).then(stripped)


def _where(column: pl.Expr, pattern: str) -> pl.Expr:
    return pl.when(column.str.contains(pattern)).then(column)


def _integer(column: pl.Expr) -> pl.Expr:
    return _where(column, WHOLE).cast(pl.Int64, strict=False)


def _decimal(column: pl.Expr) -> pl.Expr:
    # A whole number beyond 64 bits would lose digits: its column stays text, as other long identifiers do.
    exact = ~column.str.contains(WHOLE) | _integer(column).is_not_null()
    parsed = pl.coalesce(_where(column, POINT), _where(column, INFINITE)).cast(pl.Float64, strict=False)
    return pl.when(exact).then(parsed)


def _decimal_comma(column: pl.Expr) -> pl.Expr:
    return _decimal(_where(column, COMMA).str.replace(",", ".", literal=True))


def _date(column: pl.Expr) -> pl.Expr:
    return pl.coalesce(
        _where(column, ISO_DATE).str.to_date("%Y-%m-%d", strict=False),
        _where(column, GERMAN_DATE).str.to_date("%d.%m.%Y", strict=False),
    )


def _seconds(column: pl.Expr) -> pl.Expr:
    """Every timestamp with a T and its seconds, as the parser wants it."""
    return column.str.replace(" ", "T", literal=True).str.replace(r"^(.{16})($|[^:0-9])", "${1}:00${2}")


def _local_time(column: pl.Expr) -> pl.Expr:
    return _seconds(_where(column, LOCAL_TIME)).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us")


def _zoned_time(column: pl.Expr) -> pl.Expr:
    offset = _seconds(_where(column, ZONED_TIME)).str.replace(r"[zZ]$", "+00:00")
    return offset.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", strict=False, time_unit="us", time_zone="UTC")


def _boolean(column: pl.Expr) -> pl.Expr:
    lowered = column.str.to_lowercase()
    return pl.when(lowered.is_in(TRUE)).then(statement=True).when(lowered.is_in(FALSE)).then(statement=False)


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A type and how to parse its texts: null for those that are not written in it."""

    name: str
    parse: Callable[[pl.Expr], pl.Expr]


# The first that fits wins, so each whole number is also a decimal number but its column is one of integers.
CANDIDATES = (
    _Candidate(name="integer", parse=_integer),
    _Candidate(name="decimal number", parse=_decimal),
    _Candidate(name="date", parse=_date),
    _Candidate(name="timestamp", parse=_local_time),
    _Candidate(name="timestamp", parse=_zoned_time),
    _Candidate(name="boolean", parse=_boolean),
)
DECIMAL_COMMA = _Candidate(name="decimal number", parse=_decimal_comma)


class Inference:
    """The types that the columns of a file may still have, after all of it that was seen.

    A column has a type only where every text that is not missing is written in it; else it is text, and "empty" where
    all are missing. Numbers with leading zeros or a plus, and whole numbers beyond 64 bits, are text. With
    `decimal_comma`, 12,50 is a decimal number too, though never in a column that also has 12.50.
    """

    def __init__(self, names: Sequence[str], *, decimal_comma: bool) -> None:
        candidates = (*CANDIDATES, DECIMAL_COMMA) if decimal_comma else CANDIDATES
        self._candidates = {name: list(candidates) for name in names}
        self._seen = dict.fromkeys(names, False)

    def see(self, texts: pl.DataFrame) -> None:
        """Rule out what these rows are not; missing texts are null."""
        tests = {
            f"{place} {number}": (exactly(name).is_null() | candidate.parse(exactly(name)).is_not_null()).all()
            for place, (name, candidates) in enumerate(self._candidates.items())
            for number, candidate in enumerate(candidates)
        }
        fits = texts.select(**tests).row(0, named=True) if tests else {}
        for place, (name, candidates) in enumerate(self._candidates.items()):
            self._candidates[name] = [
                candidate for number, candidate in enumerate(candidates) if fits[f"{place} {number}"]
            ]
            self._seen[name] |= texts[name].null_count() < texts.height

    def types(self) -> list[dict[str, str]]:
        """The name and the type of each column."""
        return [{"name": name, "type": self._type(name)} for name in self._candidates]

    def _type(self, name: str) -> str:
        if not self._seen[name]:
            return "empty"
        return self._candidates[name][0].name if self._candidates[name] else "text"

    def expressions(self) -> list[pl.Expr]:
        """What turns the columns of texts into columns of their types."""
        return [self._expression(name) for name in self._candidates]

    def _expression(self, name: str) -> pl.Expr:
        column = exactly(name)
        if not self._seen[name]:
            return column.cast(pl.Null)
        return self._candidates[name][0].parse(column).alias(name) if self._candidates[name] else column
