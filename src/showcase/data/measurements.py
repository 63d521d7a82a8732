"""Making a file of measurements from a seed, and its statistics."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any, Final, NamedTuple

from showcase.data.draws import Draws, exponential
from showcase.data.exact import Products, Summary, correlation
from showcase.data.output import DataFileError, check_free, check_rows, replacing, write_expected, write_text

__all__ = ["FORMATS", "make_measurements"]

FORMATS: Final = ("csv", "parquet")
COLUMNS: Final = ("sensor", "taken_at", "temperature", "humidity", "pressure", "vibration", "status", "battery")
SENSORS: Final = tuple(f"sensor-{number:02d}" for number in range(1, 13))
STATUSES: Final = (("ok", 0.95), ("warn", 0.99), ("fail", 1.0))
START: Final = datetime(2024, 1, 1)  # noqa: DTZ001 - a sensor's own clock, of no zone
MOST_SECONDS: Final = 60

# Units in 1 of each number: what is written has as many decimals.
SCALES: Final = {"temperature": 1000, "humidity": 1000, "pressure": 100, "vibration": 10_000, "battery": 1}
PAIRS: Final = tuple(combinations(range(len(SCALES)), 2))
MISSING_TEMPERATURE: Final = 0.02
MISSING_HUMIDITY: Final = 0.01
OUTLIERS: Final = 0.001
TOLERANCE: Final = 1e-9


class _Row(NamedTuple):
    """One measurement: its numbers in units, in the order of `SCALES`."""

    sensor: str
    taken_at: str
    status: str
    units: tuple[int | None, ...]
    outlier: bool


def make_measurements(
    path: Path, *, rows: int, seed: int = 1, file_format: str = "csv", force: bool = False
) -> dict[str, Any]:
    """Write so many measurements as CSV or Parquet, and beside it their statistics; return those.

    Both formats of a seed hold the same values; a CSV has the same bytes each time. The README beside this module says
    how the columns are made and what each finding means.

    Raises `DataFileError` for rows or a format that it does not know, for a file that exists unless `force` is set, and
    for one that cannot be written.
    """
    check_rows(rows)
    if file_format not in FORMATS:
        raise DataFileError(f"The format is {file_format!r}, but must be one of {', '.join(FORMATS)}.")
    check_free(path, force=force)
    statistics = _Statistics()
    lines = _lines(Draws(seed), rows, statistics)
    with replacing(path) as part:
        if file_format == "csv":
            write_text(part, lines, encoding="utf-8")
        else:
            _write_parquet(part, lines)
    findings = {"kind": "measurements", "made": {"rows": rows, "seed": seed}, **statistics.as_dict()}
    write_expected(path, findings)
    return findings


def _write_parquet(path: Path, lines: Iterator[str]) -> None:
    # Polars takes its time and memory to import, which only those pay who write Parquet.
    from showcase.data import parquet  # noqa: PLC0415

    table = path.with_name(f"{path.name}.csv")
    write_text(table, lines, encoding="utf-8")
    try:
        parquet.convert(table, path)
    finally:
        table.unlink()


def _lines(draws: Draws, rows: int, statistics: "_Statistics") -> Iterator[str]:
    yield ",".join(COLUMNS) + "\n"
    seconds = 0
    for number in range(1, rows + 1):
        seconds += 1 + draws.below(MOST_SECONDS)
        row = _row(draws, (START + timedelta(seconds=seconds)).isoformat())
        statistics.add(number, row)
        temperature, humidity, pressure, vibration, battery = map(_written, row.units, SCALES.values())
        yield f"{row.sensor},{row.taken_at},{temperature},{humidity},{pressure},{vibration},{row.status},{battery}\n"


def _row(draws: Draws, taken_at: str) -> _Row:
    fraction = draws.fraction
    celsius = 20 + 5 * draws.normal()
    temperature: int | None = round(1000 * celsius)
    # Its correlation with temperature is -0.6: of its variance of 100, 36 come from there.
    humidity: int | None = round(1000 * (50 - 1.2 * (celsius - 20) + 8 * draws.normal()))
    pressure = round(100 * (1013.25 + 8 * draws.normal()))
    vibration = max(1, round(10_000 * exponential(-1 + 0.75 * draws.normal())))
    drawn = fraction()
    outlier = drawn < OUTLIERS
    if outlier:
        temperature = 1000 * (150 + draws.below(200)) * (1 if fraction() < 0.5 else -1)  # noqa: PLR2004 - either side
    elif drawn < OUTLIERS + MISSING_TEMPERATURE:
        temperature = None
    if fraction() < MISSING_HUMIDITY:
        humidity = None
    status_drawn = fraction()
    return _Row(
        sensor=draws.pick(SENSORS),
        taken_at=taken_at,
        status=next(status for status, end in STATUSES if status_drawn < end),
        units=(temperature, humidity, pressure, vibration, draws.below(101)),
        outlier=outlier,
    )


def _written(units: int | None, scale: int) -> str:
    if units is None:
        return ""
    return str(units) if scale == 1 else repr(units / scale)


class _Statistics:
    """Takes each row as it is written; only the list of outliers grows, by a thousandth of the rows."""

    def __init__(self) -> None:
        self._rows = 0
        self._first = ""
        self._last = ""
        self._sensors = dict.fromkeys(SENSORS, 0)
        self._statuses = {status: 0 for status, _ in STATUSES}
        self._numbers = [Summary(scale=scale) for scale in SCALES.values()]
        self._pairs = [(left, right, Products()) for left, right in PAIRS]
        self._outliers: list[int] = []

    def add(self, number: int, row: _Row) -> None:
        self._rows = number
        self._first = self._first or row.taken_at
        self._last = row.taken_at
        self._sensors[row.sensor] += 1
        self._statuses[row.status] += 1
        if row.outlier:
            self._outliers.append(number)
        values = row.units
        for value, summary in zip(values, self._numbers, strict=True):
            if value is not None:
                summary.add(value)
        for left, right, products in self._pairs:
            first, second = values[left], values[right]
            if first is not None and second is not None:
                products.add(first, second)

    def as_dict(self) -> dict[str, Any]:
        numbers = {
            column: {"missing": self._rows - summary.count, **summary.as_dict()}
            for column, summary in zip(SCALES, self._numbers, strict=True)
        }
        whole = {"count": self._rows, "missing": 0}
        columns: dict[str, Any] = {
            "sensor": {**whole, "values": self._sensors},
            "taken_at": {**whole, "min": self._first, "max": self._last},
            **numbers,
            "status": {**whole, "values": self._statuses},
        }
        names = tuple(SCALES)
        correlations = {
            f"{names[left]} {names[right]}": {"pairs": products.count, "pearson": correlation(products)}
            for left, right, products in self._pairs
        }
        return {
            "rows": self._rows,
            "tolerance": TOLERANCE,
            "columns": {column: columns[column] for column in COLUMNS},
            "outliers": {"temperature": {"count": len(self._outliers), "rows": self._outliers}},
            "correlations": correlations,
        }
