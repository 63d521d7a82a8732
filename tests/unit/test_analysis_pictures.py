"""The pictures: whole, the same each time, and silent about odd names."""

import struct
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest

from showcase.analysis.description import correlation_chart, correlations, describe_column, scatter_matrix
from showcase.drawing import label

ODD_NAMES = [
    "cost_$ per $unit_a^2",
    r"$\frac$",
    r"\$5",
    "価格 (円)",
    "שם",
    "line\nbreak\ttab\x07bell",
    "😀🏽 e\u0301",
    "{x} %s _under_score_",
    "long " * 40,
    "",
]
NOON = datetime.fromisoformat("2024-01-01T12:00")
NUMBERS = [float(number % 17) for number in range(60)]


def size(picture: bytes) -> tuple[int, int]:
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", picture[16:24])


def column_picture(folder: Path, values: pl.Series | list[Any], name: str = "value") -> bytes | None:
    source, target = folder / "data.parquet", folder / "picture.png"
    target.unlink(missing_ok=True)
    pl.DataFrame({name: values}).write_parquet(source)
    found = describe_column(source, name, histogram=target, tick=lambda _done, _total: None)
    assert found["drawn"] == target.exists()
    return target.read_bytes() if target.exists() else None


@pytest.mark.parametrize(
    "values",
    [
        NUMBERS,
        [3.5],
        [0] * 5,
        [1, 2, 3, 3],
        [2**63 - 1] * 3,
        [2**62, 2**62 + 1],
        [-(2**63), 2**63 - 1],
        [1e16, 1e16 + 2],
        [1e6, 1e6 + 1e-6],
        [-1e-200, 1e-200],
        [-1e299, 1e299],
        [float("inf"), 1.0, 2.0, float("-inf")],
        ["a", "b", "b", None],
        ["only"],
        ["x" * 500, "$a$ and $b$", "", " ", "日本", "line\nbreak", "y" * 500],
        [True, False, None],
        [date(2024, 1, 1), date(2024, 3, 1)],
        [date(2024, 1, 1)],
        [date(2, 1, 1), date(9900, 12, 31)],
        [NOON, NOON + timedelta(microseconds=5)],
        [NOON] * 2,
    ],
)
def test_a_column_is_drawn_and_the_same_each_time(tmp_path: Path, values: list[Any]) -> None:
    picture = column_picture(tmp_path, values)
    assert picture is not None
    width, height = size(picture)
    assert width == 800
    assert 150 <= height <= 500
    assert column_picture(tmp_path, values) == picture
    assert mpl.__version__.encode() not in picture


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([None, None], dtype=pl.Int64),
        pl.Series([], dtype=pl.Float64),
        pl.Series([None], dtype=pl.String),
        pl.Series([None], dtype=pl.Date),
        pl.Series([None], dtype=pl.Boolean),
        [float("inf")] * 3,
        [-1.7e308, 1.7e308],
        [[1], [2]],
        pl.Series([-(2**30), 2**30], dtype=pl.Int32).cast(pl.Date),
    ],
)
def test_what_cannot_be_drawn_leaves_no_picture(tmp_path: Path, values: pl.Series | list[Any]) -> None:
    assert column_picture(tmp_path, values) is None


def test_another_column_makes_another_picture(tmp_path: Path) -> None:
    assert column_picture(tmp_path, NUMBERS) != column_picture(tmp_path, [*NUMBERS, 3.0])
    assert column_picture(tmp_path, ["a", "b"]) != column_picture(tmp_path, ["a", "b", "b"])


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_drawn_as_they_are(tmp_path: Path, name: str) -> None:
    picture = column_picture(tmp_path, NUMBERS, name)
    assert picture is not None
    assert size(picture)[0] == 800


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain_name", "plain_name"),
        ("a $b$ c", r"a \$b\$ c"),
        ("  many \n words ", "many words"),
        ("価 é ß", "□ é ß"),
        ("bell\x07", "bell□"),
        ("x" * 12, "x" * 9 + "…"),
        ("x" * 10, "x" * 10),
        ("12345678 0123", "12345678…"),
    ],
)
def test_a_label_is_literal_short_and_in_the_font(text: str, shown: str) -> None:
    assert label(text, 10) == shown


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.parquet"
    random = np.random.default_rng(1)
    columns: dict[str, Any] = {name: random.normal(size=3000) for name in ODD_NAMES}
    columns["same"] = np.full(3000, 2.0)
    columns["wide"] = np.array([-1.7e308, 1.7e308] * 1500)
    columns["infinite"] = np.full(3000, np.inf)
    none = pl.Series("none", [None] * 3000, dtype=pl.Float64)
    pl.DataFrame(columns).with_columns(none).write_parquet(path)
    return path


def scattered(names: list[str]) -> Callable[[Path, Path], None]:
    return lambda source, target: scatter_matrix(source, names, target)


def correlated(names: list[str]) -> Callable[[Path, Path], None]:
    return lambda source, target: correlation_chart(correlations(source, names), target)


@pytest.mark.parametrize(
    "draw",
    [
        scattered(ODD_NAMES[:5]),
        scattered(ODD_NAMES[5:]),
        scattered(["same", "wide", "infinite", "none", "שם"]),
        scattered(["none"]),
        scattered(["same"]),
        correlated([*ODD_NAMES, "same", "wide", "infinite", "none"]),
        correlated(ODD_NAMES[:1]),
        correlated(["none", "same"]),
    ],
)
def test_pictures_of_several_columns_are_the_same_each_time(
    tmp_path: Path, table: Path, draw: Callable[[Path, Path], None]
) -> None:
    pictures = []
    for name in ("one.png", "two.png"):
        draw(table, tmp_path / name)
        pictures.append((tmp_path / name).read_bytes())
    width, height = size(pictures[0])
    assert pictures[0] == pictures[1]
    assert width <= 800
    assert height <= 800


def test_thirty_columns_fit_in_a_picture(tmp_path: Path) -> None:
    names = [f"a column of number {number}" for number in range(30)]
    found = {"names": names, "coefficients": [[1.0 if row == column else None for row in names] for column in names]}
    correlation_chart(found, tmp_path / "chart.png")
    assert size((tmp_path / "chart.png").read_bytes())[0] == 800


def test_a_scatter_matrix_takes_rows_from_all_of_the_file(tmp_path: Path) -> None:
    table, target = tmp_path / "table.parquet", tmp_path / "picture.png"
    pictures = []
    for last in (0.0, 1000.0):
        pl.DataFrame({"a": [*range(20_000)], "b": [0.0] * 19_000 + [last] * 1000}).write_parquet(table)
        scatter_matrix(table, ["a", "b"], target)
        pictures.append(target.read_bytes())
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("number", [0, 6])
def test_a_scatter_matrix_is_of_one_to_five_columns(tmp_path: Path, number: int) -> None:
    with pytest.raises(ValueError, match=f"{number} columns cannot be drawn: choose from 1 to 5"):
        scatter_matrix(tmp_path / "table.parquet", ODD_NAMES[:number], tmp_path / "picture.png")


def test_a_matrix_without_rows_is_drawn(tmp_path: Path) -> None:
    table, target = tmp_path / "table.parquet", tmp_path / "picture.png"
    pl.DataFrame(schema={"a": pl.Int64, "b": pl.Float64}).write_parquet(table)
    scatter_matrix(table, ["a", "b"], target)
    assert size(target.read_bytes()) == (800, 800)
