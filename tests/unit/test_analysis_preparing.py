"""From what was uploaded to one typed Parquet file."""

import random
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from showcase.analysis.description import preparing
from showcase.analysis.description.preparing import prepare
from showcase.tabular import UnreadableFileError, chunks


def prepared(path: Path) -> tuple[dict[str, Any], pl.DataFrame]:
    target = path.with_name("prepared.parquet")
    found = prepare(path, target=target, tick=lambda _done, _total: None)
    assert sorted(each.name for each in path.parent.iterdir()) == sorted({path.name, "prepared.parquet"})
    return found, pl.read_parquet(target)


def of_csv(folder: Path, text: str, *, encoding: str = "utf-8") -> tuple[dict[str, Any], pl.DataFrame]:
    path = folder / "in.csv"
    path.write_text(text, encoding=encoding)
    return prepared(path)


def of_parquet(folder: Path, frame: pl.DataFrame) -> tuple[dict[str, Any], pl.DataFrame]:
    path = folder / "in.parquet"
    frame.write_parquet(path)
    return prepared(path)


def types(found: dict[str, Any]) -> dict[str, str]:
    return {column["name"]: column["type"] for column in found["columns"]}


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["1", "-2", "0"], "integer", [1, -2, 0]),
        (["9223372036854775807", "-9223372036854775808"], "integer", [2**63 - 1, -(2**63)]),
        (["9223372036854775808", "1"], "text", ["9223372036854775808", "1"]),
        (["9223372036854775808", "1.5"], "text", ["9223372036854775808", "1.5"]),
        (["1", "2.5", ".5", "-3.", "1e3", "1.5E-2"], "decimal number", [1.0, 2.5, 0.5, -3.0, 1000.0, 0.015]),
        (["inf", "-Infinity", "1"], "decimal number", [float("inf"), float("-inf"), 1.0]),
        (["00123", "4"], "text", ["00123", "4"]),
        (["0", "0.5", "00.5"], "text", ["0", "0.5", "00.5"]),
        (["+49301234", "1"], "text", ["+49301234", "1"]),
        (["1_000", "1"], "text", ["1_000", "1"]),
        (["١٢", "3"], "text", ["١٢", "3"]),
        (["2024-02-29", "1999-12-31"], "date", [date(2024, 2, 29), date(1999, 12, 31)]),
        (["2024-02-29", "31.12.1999"], "date", [date(2024, 2, 29), date(1999, 12, 31)]),
        (["2024-02-30", "1999-12-31"], "text", ["2024-02-30", "1999-12-31"]),
        (["2024-1-5"], "text", ["2024-1-5"]),
        (["01/02/2024"], "text", ["01/02/2024"]),
        (
            ["2024-01-05T10:11:12", "2024-01-05 10:11", "2024-01-05 10:11:12.25"],
            "timestamp",
            [datetime.fromisoformat(f"2024-01-05T10:11:{seconds}") for seconds in ("12", "00", "12.250")],
        ),
        (
            ["2024-01-05T10:11:12Z", "2024-01-05 10:11+02:00", "2024-01-05T10:11:12.5-0130"],
            "timestamp",
            [
                datetime(2024, 1, 5, 10, 11, 12, tzinfo=UTC),
                datetime(2024, 1, 5, 8, 11, tzinfo=UTC),
                datetime(2024, 1, 5, 11, 41, 12, 500_000, tzinfo=UTC),
            ],
        ),
        (["2024-01-05T10:11:12Z", "2024-01-05T10:11:12"], "text", ["2024-01-05T10:11:12Z", "2024-01-05T10:11:12"]),
        (["2024-01-05", "2024-01-05 10:11"], "text", ["2024-01-05", "2024-01-05 10:11"]),
        (["2024-01-05T25:00:00"], "text", ["2024-01-05T25:00:00"]),
        (["true", "FALSE", "yes", "No"], "boolean", [True, False, True, False]),
        (["true", "1"], "text", ["true", "1"]),
        (["1", "two", "3.0"], "text", ["1", "two", "3.0"]),
        (["", "NA", "N/A", "null", "NaN", "None", "-", "  "], "empty", [None] * 8),
        ([" 1 ", "NA", "2"], "integer", [1, None, 2]),
        (["red", " - ", " blue"], "text", ["red", None, "blue"]),
    ],
)
def test_a_column_has_a_type_only_where_each_value_is_written_in_it(
    tmp_path: Path, texts: list[str], kind: str, values: list[object]
) -> None:
    found, frame = of_csv(tmp_path, "a,b\n" + "".join(f"{text},x\n" for text in texts))
    assert types(found) == {"a": kind, "b": "text"}
    assert frame["a"].to_list() == values
    assert found["rows"] == len(values)


@pytest.mark.parametrize("chunk", [1, 2, 3, 20_000])
def test_a_type_holds_over_all_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(preparing, "chunks", partial(chunks, rows=chunk))
    rows = ["1,1,2024-01-05,", "2,2,2024-01-06,NA", "3,2.5,x,7"]
    found, frame = of_csv(tmp_path, "a,b,c,d\n" + "\n".join(rows) + "\n")
    assert types(found) == {"a": "integer", "b": "decimal number", "c": "text", "d": "integer"}
    assert frame.rows() == [(1, 1.0, "2024-01-05", None), (2, 2.0, "2024-01-06", None), (3, 2.5, "x", 7)]


def test_records_that_are_no_rows_are_counted_by_kind_and_left_out(tmp_path: Path) -> None:
    text = 'a,b\n1,2\n3\n\n4,5,6\n"x"y,7\n8,9\n'
    found, frame = of_csv(tmp_path, text)
    assert found["kinds"] == {"fields": 2, "empty line": 1, "quote": 1}
    assert found["rejected"] == 4
    assert frame.rows() == [(1, 2), (8, 9)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_and_delimiters_make_no_difference(tmp_path: Path, encoding: str) -> None:
    found, frame = of_csv(tmp_path, "größe\tpreis\n1\t2,5\nNA\té\n", encoding=encoding)
    assert types(found) == {"größe": "integer", "preis": "text"}
    assert frame["preis"].to_list() == ["2,5", "é"]


def test_a_comma_is_a_decimal_one_only_between_semicolons(tmp_path: Path) -> None:
    found, frame = of_csv(tmp_path, "a;b;c\n1,5;1,5;1\n-2;2.5;00,5\n")
    assert types(found) == {"a": "decimal number", "b": "text", "c": "text"}
    assert frame["a"].to_list() == [1.5, -2.0]


def test_odd_names_of_columns_are_no_patterns(tmp_path: Path) -> None:
    found, frame = of_csv(tmp_path, "*,^a.*$,ab,$x_1$,literal\n1,x,2.5,true,\n2,y,3,false,NA\n")
    assert list(types(found).values()) == ["integer", "text", "decimal number", "boolean", "empty"]
    assert frame.columns == list(types(found))


def test_a_csv_with_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    found, frame = of_csv(tmp_path, "a,b\n")
    assert found == {
        "rows": 0,
        "rejected": 0,
        "kinds": {},
        "columns": [{"name": "a", "type": "empty"}, {"name": "b", "type": "empty"}],
    }
    assert frame.shape == (0, 2)


def test_a_parquet_keeps_its_types_and_has_no_nan(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "whole": pl.Series([2**64 - 1, None], dtype=pl.UInt64),
            "real": [float("nan"), float("inf")],
            "money": pl.Series(["1.50", None]).cast(pl.Decimal(10, 2)),
            "lists": [[1], None],
            "things": [{"a": 1}, {"a": 2}],
            "bytes": [b"x", b"y"],
            "nothing": pl.Series([None, None], dtype=pl.Null),
            "level": pl.Series(["low", "high"], dtype=pl.Enum(["low", "high"])),
            "lasted": [timedelta(minutes=1, milliseconds=500), None],
            "at": pl.Series([datetime.fromisoformat("2024-01-01T12:00")] * 2).dt.replace_time_zone("Europe/Berlin"),
            "day": [date(2024, 1, 1)] * 2,
            "yes": [True, None],
        }
    )
    found, kept = of_parquet(tmp_path, frame)
    assert types(found) == {
        "whole": "integer",
        "real": "decimal number",
        "money": "decimal number",
        "lists": "nested",
        "things": "nested",
        "bytes": "binary",
        "nothing": "empty",
        "level": "text",
        "lasted": "decimal number",
        "at": "timestamp",
        "day": "date",
        "yes": "boolean",
    }
    assert found["rows"] == 2
    assert kept["whole"].to_list() == [2**64 - 1, None]
    assert kept["real"].to_list() == [None, float("inf")]
    assert kept["lasted"].to_list() == [60.5, None]
    assert kept["at"][0] == datetime(2024, 1, 1, 11, tzinfo=UTC)


def test_a_parquet_without_rows_keeps_its_types(tmp_path: Path) -> None:
    found, frame = of_parquet(tmp_path, pl.DataFrame(schema={"a": pl.Int64, "b": pl.String}))
    assert types(found) == {"a": "integer", "b": "text"}
    assert frame.shape == (0, 2)


def test_the_same_file_is_prepared_to_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a,b\n" + "".join(f"{number},x{number}\n" for number in range(500)))
    for name in ("one.parquet", "two.parquet"):
        prepare(path, target=tmp_path / name, tick=lambda _done, _total: None)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a\n" + "1\n" * 50_000)
    ticks: list[tuple[int, int]] = []
    prepare(path, target=tmp_path / "out.parquet", tick=lambda done, total: ticks.append((done, total)))
    assert ticks == sorted(ticks)
    assert len(ticks) > 2
    assert ticks[-1] == (path.stat().st_size, path.stat().st_size)
    ticks.clear()
    prepare(tmp_path / "out.parquet", target=tmp_path / "again.parquet", tick=lambda *each: ticks.append(each))
    assert ticks[-1] == (50_000, 50_000)


def refused(path: Path) -> str:
    with pytest.raises(UnreadableFileError) as error:
        prepare(path, target=path.with_name("prepared.parquet"), tick=lambda _done, _total: None)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return str(error.value)


def test_too_many_columns_are_refused(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(201)]
    path = tmp_path / "in.csv"
    path.write_text(",".join(names) + "\n")
    assert "201 columns" in refused(path)
    pl.DataFrame({name: [1] for name in names}).write_parquet(path)
    assert refused(path) == "The file has 201 columns; the most is 200. Leave some out."


def test_too_many_rows_of_a_parquet_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "MOST_ROWS", 2)
    path = tmp_path / "in"
    pl.DataFrame({"a": [1, 2, 3]}).write_parquet(path)
    assert refused(path) == "The file has 3 rows; the most is 2. Split it."


@pytest.mark.parametrize("name", ["x" * 301, "a\0b"])
def test_a_name_that_cannot_be_kept_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "in"
    pl.DataFrame({"a": [1], name: [1]}).write_parquet(path)
    assert refused(path) == "The name of column 2 is longer than 300 characters or holds a NUL. Rename it."


def test_a_nul_in_a_text_is_shown_as_unknown(tmp_path: Path) -> None:
    _, frame = of_parquet(tmp_path, pl.DataFrame({"a": ["x\0y", None]}))
    assert frame["a"].to_list() == ["x\N{REPLACEMENT CHARACTER}y", None]


def test_a_parquet_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    path.write_text("a,b\n1,2\n")
    assert "named .parquet but is no Parquet file" in refused(path)


def test_a_csv_may_start_as_a_parquet_does(tmp_path: Path) -> None:
    found, _ = of_csv(tmp_path, "PAR1,b\n1,2\n")
    assert types(found) == {"PAR1": "integer", "b": "integer"}


def test_a_parquet_without_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pl.DataFrame().write_parquet(path)
    assert "has no columns" in refused(path)


def test_a_file_that_is_gone_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        prepare(tmp_path / "gone.csv", target=tmp_path / "out.parquet", tick=lambda _done, _total: None)


def test_a_damaged_parquet_is_refused_or_read(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": range(300), "b": [f"text {number % 7}" for number in range(300)], "c": [0.5] * 300})
    frame.write_parquet(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "whole.parquet").unlink()
    draw = random.Random(5)
    damaged = [whole[:length] for length in (5, 12, 100, len(whole) // 2, len(whole) - 1)]
    for _ in range(60):
        flipped = bytearray(whole)
        for _ in range(3):
            flipped[draw.randrange(4, len(flipped))] ^= 1 << draw.randrange(8)
        damaged.append(bytes(flipped))
    refusals = []
    for number, content in enumerate(damaged):
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(content)
        try:
            prepare(path, target=tmp_path / "prepared.parquet", tick=lambda _done, _total: None)
        except UnreadableFileError as error:
            refusals.append(str(error))
    assert len(refusals) > 20
    assert sum(refusal.startswith("The Parquet file is damaged: ") for refusal in refusals) > 20
    assert all("\n" not in refusal and len(refusal) < 300 for refusal in refusals)
