"""The committed samples are what the generator makes."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from showcase.data import expected_path, make_measurements, make_orders, samples

LARGEST_BYTES = 200_000
NAMES = ["measurements-small.csv", "measurements-small.parquet", "orders-latin.csv", "orders-small.csv"]


def made_again(name: str, folder: Path) -> Path:
    made: dict[str, Any] = json.loads(expected_path(samples()[name]).read_text(encoding="utf-8"))["made"]
    path = folder / name
    if name.startswith("orders"):
        make_orders(path, **made)
    else:
        make_measurements(path, **made, file_format=path.suffix.removeprefix("."))
    return path


def test_the_samples_are_there_by_name_and_small() -> None:
    assert list(samples()) == NAMES
    assert all(path.stat().st_size < LARGEST_BYTES for path in samples().values())


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_and_its_findings_are_made_the_same_again(name: str, tmp_path: Path) -> None:
    again, committed = made_again(name, tmp_path), samples()[name]
    assert expected_path(again).read_bytes() == expected_path(committed).read_bytes()
    if committed.suffix == ".parquet":
        assert pl.read_parquet(again).equals(pl.read_parquet(committed), null_equal=True)
    else:
        assert again.read_bytes() == committed.read_bytes()


def test_csv_and_parquet_hold_the_same_values() -> None:
    table = pl.read_csv(samples()["measurements-small.csv"], try_parse_dates=True)
    other = pl.read_parquet(samples()["measurements-small.parquet"])
    assert other.schema == table.schema
    assert other.equals(table, null_equal=True)
