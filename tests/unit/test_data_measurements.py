"""Made measurements: the same each time, and with statistics that another computation agrees with."""

import csv
import json
import math
import statistics
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from showcase.data import DataFileError, expected_path, make_measurements
from showcase.data.draws import exponential
from showcase.data.exact import Products, Summary, correlation

ROWS = 20_000
NUMBERS = ["temperature", "humidity", "pressure", "vibration", "battery"]

type Table = list[dict[str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Table]:
    path = tmp_path_factory.mktemp("data") / "measurements.csv"
    findings = make_measurements(path, rows=ROWS, seed=4)
    with path.open(encoding="utf-8", newline="") as file:
        return findings, list(csv.DictReader(file))


def present(table: Table, column: str) -> list[float]:
    return [float(row[column]) for row in table if row[column]]


@pytest.mark.parametrize("column", NUMBERS)
def test_the_statistics_of_a_column_are_right(made: tuple[dict[str, Any], Table], column: str) -> None:
    findings, table = made
    values = present(table, column)
    assert findings["columns"][column] == {
        "missing": ROWS - len(values),
        "count": len(values),
        "min": min(values),
        "max": max(values),
        "mean": pytest.approx(statistics.fmean(values), rel=1e-12),
        "standard_deviation": pytest.approx(statistics.stdev(values), rel=1e-12),
    }


@pytest.mark.parametrize(("left", "right"), list(combinations(NUMBERS, 2)))
def test_the_correlations_are_right(made: tuple[dict[str, Any], Table], left: str, right: str) -> None:
    findings, table = made
    pairs = [(float(row[left]), float(row[right])) for row in table if row[left] and row[right]]
    assert findings["correlations"][f"{left} {right}"] == {
        "pairs": len(pairs),
        "pearson": pytest.approx(statistics.correlation(*zip(*pairs, strict=True)), rel=1e-9),
    }


def test_the_outliers_are_where_they_are_said_to_be(made: tuple[dict[str, Any], Table]) -> None:
    findings, table = made
    far = [
        number
        for number, row in enumerate(table, start=1)
        if row["temperature"] and abs(float(row["temperature"])) > 100
    ]
    assert findings["outliers"]["temperature"] == {"count": len(far), "rows": far}
    assert len(far) / ROWS == pytest.approx(0.001, abs=0.0007)


def test_the_columns_are_made_as_the_readme_says(made: tuple[dict[str, Any], Table]) -> None:
    findings, table = made
    columns = findings["columns"]
    both = [
        (float(row["temperature"]), float(row["humidity"]))
        for row in table
        if row["temperature"] and row["humidity"] and abs(float(row["temperature"])) < 100
    ]
    assert statistics.correlation(*zip(*both, strict=True)) == pytest.approx(-0.6, abs=0.02)
    assert statistics.stdev(first for first, _ in both) == pytest.approx(5, rel=0.02)
    assert abs(findings["correlations"]["pressure vibration"]["pearson"]) < 0.03
    assert columns["temperature"]["missing"] / ROWS == pytest.approx(0.02, abs=0.003)
    assert columns["humidity"]["missing"] / ROWS == pytest.approx(0.01, abs=0.003)
    logarithms = [math.log(value) for value in present(table, "vibration")]
    assert statistics.fmean(logarithms) == pytest.approx(-1, abs=0.02)
    assert statistics.stdev(logarithms) == pytest.approx(0.75, rel=0.02)
    assert columns["sensor"]["values"] == {
        name: [row["sensor"] for row in table].count(name) for name in sensors(table)
    }
    assert len(sensors(table)) == 12
    assert columns["status"]["values"] == {
        name: [row["status"] for row in table].count(name) for name in ("ok", "warn", "fail")
    }
    assert (columns["taken_at"]["min"], columns["taken_at"]["max"]) == (table[0]["taken_at"], table[-1]["taken_at"])


def sensors(table: Table) -> list[str]:
    return sorted({row["sensor"] for row in table})


def test_the_same_seed_gives_the_same_bytes_and_another_others(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("first.csv", "again.csv", "other.csv")]
    first, again, other = [
        make_measurements(path, rows=500, seed=seed) for path, seed in zip(paths, (1, 1, 2), strict=True)
    ]
    assert first == again
    assert first != other
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes() != paths[2].read_bytes()
    assert json.loads(expected_path(paths[0]).read_text(encoding="utf-8")) == first


def test_one_row_has_no_deviation_and_no_correlation(tmp_path: Path) -> None:
    findings = make_measurements(tmp_path / "one.csv", rows=1)
    assert findings["columns"]["pressure"]["standard_deviation"] is None
    assert findings["correlations"]["pressure vibration"] == {"pairs": 1, "pearson": None}


def test_a_format_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="The format is 'xlsx', but must be one of csv, parquet"):
        make_measurements(tmp_path / "table.xlsx", rows=10, file_format="xlsx")


@pytest.mark.parametrize("power", [-8.0, -5.5, -1.0, -0.001, 0.0, 0.5, 1.0, 3.5, 8.0])
def test_the_exponential_is_right(power: float) -> None:
    assert exponential(power) == pytest.approx(math.exp(power), rel=1e-12)


def test_sums_lose_nothing_where_floats_would() -> None:
    summary = Summary(scale=10)
    for units in (10**17 + 1, 10**17 + 3):
        summary.add(units)
    assert summary.as_dict()["standard_deviation"] == pytest.approx(math.sqrt(2) / 10)


def test_a_perfect_correlation_is_one() -> None:
    pairs = Products()
    for number in range(5):
        pairs.add(number, -3 * number)
    assert correlation(pairs) == -1
