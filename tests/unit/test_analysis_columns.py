"""What is said of one column, and of two together, beside what Python's statistics and NumPy say."""

import json
import math
import statistics
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from showcase.analysis.description import correlations, describe_column, parquet, prepare
from showcase.data import expected_path, samples

RANDOM = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "CHUNK_ROWS", 100)


def described(folder: Path, values: pl.Series | list[Any], **options: Any) -> dict[str, Any]:
    path = folder / "data.parquet"
    pl.DataFrame({"value": values}).write_parquet(path)
    found = describe_column(path, "value", histogram=None, tick=lambda _done, _total: None, **options)
    # What PostgreSQL is to keep has neither NaN nor infinite numbers.
    return dict(json.loads(json.dumps(found, allow_nan=False)))


def test_numbers_are_those_of_the_statistics_module(tmp_path: Path) -> None:
    values = [None if draw < -2 else float(draw) for draw in RANDOM.normal(size=1234)]
    present = [value for value in values if value is not None]
    found = described(tmp_path, values)
    numbers = found["numbers"]
    assert (found["rows"], found["count"], found["missing"]) == (1234, len(present), 1234 - len(present))
    assert (found["distinct"], found["more"]) == (len(set(present)), False)
    assert (numbers["minimum"], numbers["maximum"]) == (min(present), max(present))
    assert numbers["mean"] == pytest.approx(statistics.fmean(present), rel=1e-12)
    assert numbers["standard_deviation"] == pytest.approx(statistics.stdev(present), rel=1e-12)
    quartiles = statistics.quantiles(present, n=4, method="inclusive")
    assert [numbers[name] for name in ("first_quartile", "median", "third_quartile")] == pytest.approx(
        quartiles, rel=1e-12
    )
    deviations = np.array(present) - statistics.fmean(present)
    assert numbers["skewness"] == pytest.approx((deviations**3).mean() / (deviations**2).mean() ** 1.5, rel=1e-9)
    reach = 1.5 * (quartiles[2] - quartiles[0])
    beyond = [
        {"row": row, "value": value}
        for row, value in enumerate(values, start=1)
        if value is not None and not quartiles[0] - reach <= value <= quartiles[2] + reach
    ]
    assert numbers["outliers"]["count"] == len(beyond)
    assert numbers["outliers"]["examples"] == beyond[:20]
    assert len(beyond) > 0


def test_of_many_outliers_the_first_20_are_told(tmp_path: Path) -> None:
    values = [0] * 900 + [number * 1000 for number in range(1, 51)]
    outliers = described(tmp_path, values)["numbers"]["outliers"]
    assert outliers["count"] == 50
    assert outliers["examples"] == [{"row": 900 + number, "value": number * 1000} for number in range(1, 21)]


def test_whole_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    values = [*range(1, 20), 2**63 - 1]
    numbers = described(tmp_path, values)["numbers"]
    assert (numbers["minimum"], numbers["maximum"]) == (1, 2**63 - 1)
    assert numbers["outliers"]["examples"] == [{"row": 20, "value": 2**63 - 1}]
    assert numbers["mean"] == pytest.approx(statistics.fmean(values))
    assert numbers["standard_deviation"] == pytest.approx(statistics.stdev(values))


def test_infinite_numbers_are_counted_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pl.DataFrame({"value": [1.0, math.inf, 2.0, -math.inf, math.nan, 3.0, None]}).write_parquet(path)
    prepare(path, target=tmp_path / "prepared.parquet", tick=lambda _done, _total: None)
    found = describe_column(tmp_path / "prepared.parquet", "value", histogram=None, tick=lambda _done, _total: None)
    assert (found["count"], found["missing"]) == (5, 2)
    assert found["numbers"] == {
        "minimum": 1.0,
        "maximum": 3.0,
        "mean": 2.0,
        "standard_deviation": 1.0,
        "skewness": 0.0,
        "first_quartile": 1.5,
        "median": 2.0,
        "third_quartile": 2.5,
        "infinite": 2,
        "outliers": {"lower": 0.0, "upper": 4.0, "count": 0, "examples": []},
    }


@pytest.mark.parametrize(
    ("values", "mean", "deviation"),
    [
        ([5.0] * 250, 5.0, 0.0),
        ([0.1] * 333, 0.1, 0.0),
        ([3.0], 3.0, None),
        ([None, None], None, None),
        ([], None, None),
    ],
)
def test_what_too_few_numbers_leave_undefined_is_none(
    tmp_path: Path, values: list[float | None], mean: float | None, deviation: float | None
) -> None:
    numbers = described(tmp_path, pl.Series(values, dtype=pl.Float64))["numbers"]
    assert (numbers["mean"], numbers["standard_deviation"], numbers["skewness"]) == (mean, deviation, None)
    assert numbers["median"] == numbers["minimum"] == numbers["maximum"] == mean
    assert numbers["outliers"]["count"] == 0


def test_texts_are_counted_and_measured(tmp_path: Path) -> None:
    values = [
        None if place % 9 == 0 else "añ" * (int(draw) % 13) for place, draw in enumerate(RANDOM.integers(0, 99, 500))
    ]
    present = [value for value in values if value is not None]
    counted = Counter(present)
    found = described(tmp_path, values)
    assert (found["distinct"], found["missing"]) == (len(counted), 500 - len(present))
    most = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:10]
    assert found["texts"] == {
        "shortest": min(map(len, present)),
        "longest": max(map(len, present)),
        "mean_length": pytest.approx(statistics.fmean(map(len, present))),
        "most_frequent": [{"value": value, "number": number} for value, number in most],
    }


def test_of_very_many_texts_those_are_told_that_surely_come_most_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "CHUNK_ROWS", 20_000)
    often = {"often": 300, "less often": 90, "twice": 2}
    values = [f"once {number}" for number in range(100_100)] + [
        word for word, number in often.items() for _ in range(number)
    ]
    found = described(tmp_path, RANDOM.permutation(values).tolist())
    assert (found["distinct"], found["more"]) == (100_000, True)
    assert found["texts"]["most_frequent"] == [{"value": word, "number": number} for word, number in often.items()]


def test_texts_of_which_none_is_there(tmp_path: Path) -> None:
    found = described(tmp_path, pl.Series([None, None], dtype=pl.String))
    assert (found["count"], found["distinct"]) == (0, 0)
    assert found["texts"] == {"shortest": None, "longest": None, "mean_length": None, "most_frequent": []}


def test_times_have_a_first_and_a_last(tmp_path: Path) -> None:
    days = [None, date(2024, 2, 29), date(1999, 12, 31), date(2024, 2, 29)]
    found = described(tmp_path, days)
    assert (found["type"], found["distinct"], found["missing"]) == ("date", 2, 1)
    assert found["times"] == {"first": "1999-12-31", "last": "2024-02-29"}
    moment = datetime.fromisoformat("2024-02-29T12:30:00.000005")
    found = described(tmp_path, [moment, moment + timedelta(hours=1)])
    assert found["times"] == {"first": "2024-02-29T12:30:00.000005", "last": "2024-02-29T13:30:00.000005"}
    assert described(tmp_path, [moment.replace(tzinfo=UTC)])["times"]["first"] == "2024-02-29T12:30:00.000005Z"
    assert described(tmp_path, pl.Series([None], dtype=pl.Date))["times"] == {"first": None, "last": None}


def test_days_beyond_the_calendar_are_told_by_their_year(tmp_path: Path) -> None:
    found = described(tmp_path, pl.Series([-(2**30), 2**30], dtype=pl.Int32).cast(pl.Date))
    assert found["times"] == {"first": "about the year -2,937,835", "last": "about the year 2,941,775"}


def test_booleans_are_counted(tmp_path: Path) -> None:
    found = described(tmp_path, [True, None, False, True])
    assert (found["count"], found["missing"], found["distinct"]) == (3, 1, 2)
    assert found["booleans"] == {"true": 2, "false": 1}


@pytest.mark.parametrize(
    ("values", "kind", "missing"),
    [
        (pl.Series([[1], None, [2]]), "nested", 1),
        (pl.Series([b"a", b"b", None]), "binary", 1),
        (pl.Series([None, None, None], dtype=pl.Null), "empty", 3),
    ],
)
def test_other_columns_are_only_counted(tmp_path: Path, values: pl.Series, kind: str, missing: int) -> None:
    assert described(tmp_path, values) == {
        "name": "value",
        "type": kind,
        "rows": 3,
        "count": 3 - missing,
        "missing": missing,
        "drawn": False,
    }


def test_the_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [int(draw) for draw in RANDOM.integers(-50, 50, 700)]
    found = described(tmp_path, values)
    monkeypatch.setattr(parquet, "CHUNK_ROWS", 7)
    again = described(tmp_path, values)
    for name in ("mean", "standard_deviation", "skewness"):
        assert again["numbers"].pop(name) == pytest.approx(found["numbers"].pop(name), rel=1e-12)
    assert again == found


def test_progress_goes_by_chunks_to_the_total(tmp_path: Path) -> None:
    for values, chunks in (([1.5] * 250, 3), (["a"] * 250, 3), ([], 0)):
        path = tmp_path / "data.parquet"
        pl.DataFrame({"value": values}).write_parquet(path)
        ticks: list[tuple[int, int]] = []
        describe_column(path, "value", histogram=None, tick=lambda *each, to=ticks: to.append(each))
        total = max(2 * chunks, 1)
        assert ticks == sorted(ticks)
        assert ticks[-1] == (total, total)
        assert len(ticks) >= chunks


def test_a_column_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pl.DataFrame({"a": [1], "b": [2]}).write_parquet(path)
    with pytest.raises(ValueError, match="There is no column 'c': choose one of a, b"):
        describe_column(path, "c", histogram=None, tick=lambda _done, _total: None)


def test_correlations_are_numpys_over_the_rows_where_both_are_there(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    base = RANDOM.normal(size=950)
    columns = {
        "*": base,
        "^.*$": base * 3 + RANDOM.normal(size=950) + 1e6,
        "c": np.where(RANDOM.random(950) < 0.3, np.nan, -base + RANDOM.normal(size=950)),
        "d": np.where(RANDOM.random(950) < 0.3, 1e12, RANDOM.normal(size=950)),
        "whole": RANDOM.integers(0, 9, 950),
        "same": np.full(950, 0.1),
    }
    columns["c"][5] = np.inf
    pl.DataFrame(columns).with_columns(pl.col("c").fill_nan(None)).write_parquet(path)
    found = correlations(path, list(columns))
    assert found["names"] == list(columns)
    for row, left in enumerate(columns.values()):
        for column, right in enumerate(columns.values()):
            both = np.isfinite(left) & np.isfinite(right)
            assert found["rows"][row][column] == both.sum()
            coefficient = found["coefficients"][row][column]
            if 5 in (row, column):
                assert coefficient is None
            else:
                assert coefficient == pytest.approx(np.corrcoef(left[both], right[both])[0, 1], abs=1e-9)


def test_correlations_of_columns_without_rows_in_common(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pl.DataFrame({"a": [1.0, 2.0, None, None], "b": [None, None, 3.0, 4.0]}).write_parquet(path)
    found = correlations(path, ["a", "b"])
    assert found["coefficients"] == [[1.0, None], [None, 1.0]]
    assert found["rows"] == [[2, 0], [0, 2]]
    assert correlations(path, []) == {"names": [], "coefficients": [], "rows": []}


def test_too_many_columns_to_correlate_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="31 columns are too many to correlate: choose at most 30"):
        correlations(tmp_path / "data.parquet", [str(number) for number in range(31)])


@pytest.mark.parametrize("name", [name for name in samples() if name.startswith("measurements")])
def test_the_samples_hold_what_is_said_of_them(tmp_path: Path, name: str) -> None:
    sample = samples()[name]
    expected = json.loads(expected_path(sample).read_text(encoding="utf-8"))
    target = tmp_path / "prepared.parquet"
    found = prepare(sample, target=target, tick=lambda _done, _total: None)
    assert found["rows"] == expected["rows"]
    assert [column["name"] for column in found["columns"]] == list(expected["columns"])
    numeric = []
    for column, said in expected["columns"].items():
        told = describe_column(target, column, histogram=None, tick=lambda _done, _total: None)
        assert (told["count"], told["missing"]) == (said["count"], said["missing"])
        if "mean" in said:
            numeric.append(column)
            numbers = told["numbers"]
            assert (numbers["minimum"], numbers["maximum"]) == (said["min"], said["max"])
            assert numbers["mean"] == pytest.approx(said["mean"], rel=1e-9)
            assert numbers["standard_deviation"] == pytest.approx(said["standard_deviation"], rel=1e-9)
            told_rows = {each["row"] for each in numbers["outliers"]["examples"]}
            assert told_rows.issuperset(expected["outliers"].get(column, {"rows": []})["rows"])
        elif "values" in said:
            most = sorted(said["values"].items(), key=lambda item: (-item[1], item[0]))[:10]
            assert told["distinct"] == len(said["values"])
            assert told["texts"]["most_frequent"] == [{"value": value, "number": number} for value, number in most]
        else:
            assert told["times"] == {"first": said["min"], "last": said["max"]}
    together = correlations(target, numeric)
    for pair, said in expected["correlations"].items():
        row, column = (numeric.index(each) for each in pair.split())
        assert together["rows"][row][column] == said["pairs"]
        assert together["coefficients"][row][column] == pytest.approx(said["pearson"], abs=1e-9)
