"""The files pipeline: what is accepted, what is rejected and why, and what the orders come to."""

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showcase.data import expected_path, samples
from showcase.files import pipeline
from showcase.files.pipeline.orders import COLUMNS
from showcase.tabular import UnreadableFileError

HEADER = "order_id,ordered_on,customer,email,country,product,quantity,unit_price,note"
GOOD = {
    "order_id": "1",
    "ordered_on": "2024-02-29",
    "customer": "Ann",
    "email": "ann@example.com",
    "country": "DE",
    "product": "Lamp",
    "quantity": "2",
    "unit_price": "9.90",
    "note": "",
}


def nothing(done: int, total: int) -> None:
    """Nobody watches."""


def rows(text: str) -> str:
    return f"{HEADER}\n{text}"


class Run:
    """One validation in a folder of its own."""

    def __init__(self, folder: Path, content: str | bytes) -> None:
        self.folder = folder
        source = folder / "orders.csv"
        source.write_bytes(content.encode() if isinstance(content, str) else content)
        self.ticks: list[tuple[int, int]] = []
        self.found = pipeline.validate(
            source,
            accepted=folder / "accepted.parquet",
            rejects=folder / "rejects.csv",
            tick=lambda done, total: self.ticks.append((done, total)),
        )

    @property
    def accepted(self) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "accepted.parquet")

    @property
    def rejects(self) -> list[dict[str, str]]:
        with (self.folder / "rejects.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def process(self) -> dict[str, Any]:
        return pipeline.process(self.folder / "accepted.parquet", cleaned=self.folder / "cleaned.parquet", tick=nothing)


def order(**values: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow((GOOD | values).values())
    return line.getvalue()


@pytest.mark.parametrize(
    ("column", "value", "read"),
    [
        ("order_id", "9000000000000000000", 9 * 10**18),
        ("order_id", " 007 ", 7),
        ("ordered_on", "31.12.2099", date(2099, 12, 31)),
        ("ordered_on", "2000-01-01", date(2000, 1, 1)),
        ("customer", "ü" * 200, "ü" * 200),
        ("customer", "\t東京 \n", "東京"),
        ("email", "", ""),
        ("email", "a@b", "a@b"),
        ("country", "de", "DE"),
        ("quantity", "10000", 10_000),
        ("unit_price", "0", Decimal("0.00")),
        ("unit_price", "1000000,00", Decimal("1000000.00")),
        ("unit_price", "0.1", Decimal("0.10")),
        ("note", "two\nlines", "two\nlines"),
        ("note", "n" * 10_000, "n" * 10_000),
    ],
)
def test_what_is_right_is_accepted_with_its_type(tmp_path: Path, column: str, value: str, read: object) -> None:
    run = Run(tmp_path, rows(order(**{column: value})))
    assert run.accepted[column].to_list() == [read]
    assert run.rejects == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[("order_id", value) for value in ("", "0", "-1", "1.0", "1e3", "x", "9000000000000000001", "9" * 30, "٣")],
        *[("ordered_on", value) for value in ("", "2023-02-29", "1999-12-31", "2100-01-01", "2024-1-05", "1.1.2024")],
        *[
            ("ordered_on", value)
            for value in ("12/24/2024", "+2024-1-05", "2024-01-01T00:00", "01.01.24", "31.04.2024")
        ],
        *[("customer", value) for value in ("", " ", "x" * 201)],
        *[("email", value) for value in ("ann", "@b", "a@", "a@b@c", "a b@c", "a@b c", "a@b\nc")],
        *[("country", value) for value in ("", "D", "DEU", "D1", "ÖS")],
        *[("product", value) for value in ("", "x" * 201)],
        *[("quantity", value) for value in ("", "0", "-3", "10001", "2.5", "1 000")],
        *[("unit_price", value) for value in ("", "-1", "1000000.01", "1.234", "1.234,56", "1e2", ".5", "5.", "€1")],
        ("note", "n" * 10_001),
    ],
)
def test_what_is_wrong_is_rejected_by_its_column(tmp_path: Path, column: str, value: str) -> None:
    run = Run(tmp_path, rows(order(**{column: value})))
    assert run.found["kinds"] == {column: 1}
    assert run.accepted.height == 0
    shown = value.strip()
    shown = shown if len(shown) <= 60 else shown[:60] + "…"
    assert run.rejects[0]["reason"].startswith(f"{column} is '{shown}': ")
    assert run.rejects[0]["kind"] == column
    assert run.rejects[0]["text"] == order(**{column: value})[:-1][:1000]


def test_the_first_wrong_column_gives_the_reason(tmp_path: Path) -> None:
    run = Run(tmp_path, rows(order(quantity="-3", country="?", note="kept")))
    assert [(row["kind"], row["reason"]) for row in run.rejects] == [
        ("country", "country is '?': two letters are needed"),
    ]
    assert "quantity is '-3': a whole number from 1 to 10,000 is needed" in str(
        Run(tmp_path, rows(order(quantity="-3"))).rejects
    )


def test_a_messy_file_is_parted_with_lines_reasons_and_text(tmp_path: Path) -> None:
    run = Run(
        tmp_path,
        "Quantity;UNIT_PRICE;note;order_id;ordered_on;customer;email;country;product\r\n"
        "2;1,50;;1;01.02.2024;Ann;;de;Lamp\r\n"
        '3;0,99;"one\r\ntwo";2;2024-02-03;"Bob; Jr.";bob@example.com;FR;Desk\r\n'
        "1;1;;2;2024-02-03;Carl;;FR;Desk\r\n"
        "\r\n"
        "1;1\r\n"
        '1;1;"open;3;2024-02-03;Carl;;FR;Desk\r\n'
        "0;1;;4;2024-02-03;Carl;;FR;Desk\r\n"
        "1;1;;4;2024-03-03;Ann;;FR;Desk\r\n"
        "1;1;;1;2024-03-03;Ann;;FR;Desk",
    )
    assert run.found == {
        "rows": 9,
        "accepted": 3,
        "rejected": 6,
        "kinds": {"duplicate": 2, "empty line": 1, "fields": 1, "quantity": 1, "quote": 1},
        "encoding": "utf-8",
        "delimiter": ";",
        "bytes": (tmp_path / "orders.csv").stat().st_size,
    }
    assert [(int(row["line"]), row["kind"], row["text"]) for row in run.rejects] == [
        (5, "duplicate", "1;1;;2;2024-02-03;Carl;;FR;Desk"),
        (6, "empty line", ""),
        (7, "fields", "1;1"),
        (8, "quote", '1;1;"open;3;2024-02-03;Carl;;FR;Desk'),
        (9, "quantity", "0;1;;4;2024-02-03;Carl;;FR;Desk"),
        (11, "duplicate", "1;1;;1;2024-03-03;Ann;;FR;Desk"),
    ]
    assert run.rejects[0]["reason"] == "order_id is '2': line 3 has it already"
    assert run.rejects[2]["reason"] == "2 fields, not 9"
    assert run.accepted["line"].to_list() == [2, 3, 10]
    assert run.accepted.columns == ["line", *COLUMNS]
    assert run.ticks[-1] == (run.found["bytes"], run.found["bytes"])
    assert run.process() == {
        "orders": 3,
        "revenue_cents": 300 + 297 + 100,
        "first": "2024-02-01",
        "last": "2024-03-03",
        "customers": 2,
        "by_month": {"2024-02": {"orders": 2, "revenue_cents": 597}, "2024-03": {"orders": 1, "revenue_cents": 100}},
        "by_country": {"DE": {"orders": 1, "revenue_cents": 300}, "FR": {"orders": 2, "revenue_cents": 397}},
        "top_products": [
            {"product": "Desk", "orders": 2, "revenue_cents": 397},
            {"product": "Lamp", "orders": 1, "revenue_cents": 300},
        ],
        "top_customers": [
            {"customer": "Ann", "orders": 2, "revenue_cents": 400},
            {"customer": "Bob; Jr.", "orders": 1, "revenue_cents": 297},
        ],
    }
    cleaned = pl.read_parquet(tmp_path / "cleaned.parquet")
    assert cleaned.columns == [*COLUMNS, "total"]
    assert cleaned["total"].to_list() == [Decimal("3.00"), Decimal("2.97"), Decimal("1.00")]
    assert (cleaned["unit_price"].dtype, cleaned["total"].dtype) == (pl.Decimal(9, 2), pl.Decimal(14, 2))


def test_equal_revenue_is_ranked_by_name_and_ten_are_kept(tmp_path: Path) -> None:
    names = ["b", "a", "Z", "é", "k", "j", "i", "h", "g", "f", "e", "d"]
    run = Run(tmp_path, rows("".join(order(order_id=str(1 + n), product=name) for n, name in enumerate(names))))
    assert [row["product"] for row in run.process()["top_products"]] == [
        "Z",
        "a",
        "b",
        "d",
        "e",
        "f",
        "g",
        "h",
        "i",
        "j",
    ]


def test_a_sum_above_64_bits_is_exact(tmp_path: Path) -> None:
    run = Run(tmp_path, rows(order(unit_price="1000000")))
    # More than an order may have, so that a small table is enough.
    table = run.accepted.with_columns(quantity=pl.lit(999_999, pl.Int32))
    pl.concat([table] * 100_000).write_parquet(tmp_path / "accepted.parquet", metadata={"rows_per_group": "20000"})
    found = run.process()
    assert found["revenue_cents"] == 999_999 * 10**8 * 100_000
    assert found["by_country"]["DE"]["revenue_cents"] == found["top_products"][0]["revenue_cents"]
    assert found["top_products"][0]["revenue_cents"] == found["revenue_cents"]


def test_duplicates_are_found_across_chunks_and_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("showcase.files.pipeline.duplicates.SHARE_ROWS", 10_000)
    monkeypatch.setattr("showcase.files.pipeline.processing.SHARE_ROWS", 10_000)
    numbers = [*range(1, 45_001), 1, 44_999, 7, 7]
    run = Run(tmp_path, rows("".join(order(order_id=str(n), customer=f"C{n % 999}") for n in numbers)))
    assert run.found["kinds"] == {"duplicate": 4}
    assert [row["reason"].rsplit(":", 1)[1] for row in run.rejects] == [
        " line 2 has it already",
        " line 45000 has it already",
        " line 8 has it already",
        " line 8 has it already",
    ]
    assert run.process()["customers"] == 999


@pytest.mark.parametrize("name", ["orders-small.csv", "orders-latin.csv"])
def test_made_files_give_what_was_counted_while_making_them(tmp_path: Path, name: str) -> None:
    source = samples()[name]
    expected = json.loads(expected_path(source).read_text(encoding="utf-8"))
    run = Run(tmp_path, source.read_bytes())
    found = run.found | run.process()
    assert {key: found[key] for key in expected.keys() & found.keys()} == {
        key: expected[key] for key in expected.keys() & found.keys()
    }
    assert [{"line": int(row["line"]), "kind": row["kind"]} for row in run.rejects] == expected["lines"]["rejected"]


@pytest.mark.parametrize("content", [HEADER, HEADER + "\n", HEADER.upper().replace(",", ";") + "\r\n"])
def test_only_a_header_has_no_orders(tmp_path: Path, content: str) -> None:
    run = Run(tmp_path, content)
    assert (run.found["rows"], run.found["accepted"], run.found["rejected"]) == (0, 0, 0)
    found = run.process()
    assert (found["orders"], found["revenue_cents"], found["first"], found["by_month"]) == (0, 0, None, {})
    pipeline.chart(found, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("orders.csv", b"0" * 1_000_000)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (zipped(), "ZIP archive"),
        (b"\x7fELF\0\0", "binary"),
        (HEADER.encode() + b"\n1,\x81\n", "UTF-8 or Windows-1252"),
        (b"a," * 1_000_000 + b"a\n", "1,000,001 columns"),
        (
            b"order_id,quantity,price,price2\n",
            "lacks ordered_on, customer, .*note and has the unknown price, price2. It",
        ),
        (HEADER.encode() + b",Note\n", "has twice note"),
    ],
)
def test_a_file_that_is_refused_leaves_nothing(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(UnreadableFileError, match=words):
        Run(tmp_path, content)
    assert [path.name for path in tmp_path.iterdir()] == ["orders.csv"]


def test_a_huge_field_and_ragged_rows_are_rejected_lines(tmp_path: Path) -> None:
    run = Run(tmp_path, rows(order() + order(note="x" * 70_000) + "1,2,3\n" + order(order_id="2")[:-1]))
    assert [(row["line"], row["kind"], len(row["text"])) for row in run.rejects] == [
        ("3", "huge field", 1000),
        ("4", "fields", 5),
    ]
    assert run.accepted["line"].to_list() == [2, 5]


VALUES = {
    "order_id": ["1", "2", "3", "x", ""],
    "customer": ["Ann", "", '"', "Ann\nBerg"],
    "quantity": ["1", "0", "2"],
    "unit_price": ["1,5", "1.555", "3"],
}
RECORDS = st.one_of(
    st.builds(order, **{name: st.sampled_from(values) for name, values in VALUES.items()}),
    st.sampled_from(["\n", '1,"\n', "1,2,3\n", '"a"b,c\n', ",,,,,,,,\n"]),
)


@settings(deadline=None, derandomize=True)
@given(st.lists(RECORDS, max_size=30).map("".join))
def test_each_record_is_accepted_or_rejected_once(text: str) -> None:
    with TemporaryDirectory() as folder:
        run = Run(Path(folder), rows(text))
        accepted, rejected = run.accepted["line"].to_list(), [int(row["line"]) for row in run.rejects]
        assert len(accepted) == run.found["accepted"]
        assert len(rejected) == run.found["rejected"] == sum(run.found["kinds"].values())
        assert len(accepted) + len(rejected) == run.found["rows"]
        assert not set(accepted) & set(rejected)
        assert (accepted, rejected) == (sorted(accepted), sorted(rejected))
        assert run.accepted["order_id"].is_unique().all()


ONE_RUN = """
import json, sys
from pathlib import Path
from showcase.files import pipeline
source, folder = map(Path, sys.argv[1:])
found = pipeline.validate(
    source, accepted=folder / "accepted.parquet", rejects=folder / "rejects.csv", tick=lambda done, total: None
)
sums = pipeline.process(folder / "accepted.parquet", cleaned=folder / "cleaned.parquet", tick=lambda done, total: None)
pipeline.chart(sums, folder / "chart.png")
(folder / "found.json").write_text(json.dumps([found, sums]))
"""


def test_each_run_gives_the_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    source = tmp_path / "orders.csv"
    records = (
        order(order_id=str(1 + n % 59_999), quantity=str(n % 50), product=f"P{n % 77}", customer=f"C{n % 7001}")
        for n in range(70_000)
    )
    source.write_text(rows("".join(records)))
    digests = set()
    for threads in ("1", "4"):
        folder = tmp_path / threads
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-c", ONE_RUN, source, folder],
            check=True,
            timeout=120,
            env={**os.environ, "POLARS_MAX_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        files = sorted(folder.iterdir())
        assert [file.name for file in files] == [
            "accepted.parquet",
            "chart.png",
            "cleaned.parquet",
            "found.json",
            "rejects.csv",
        ]
        digests.add(tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files))
    assert len(digests) == 1


def test_a_chart_shows_what_no_font_has_and_no_formula(tmp_path: Path) -> None:
    run = Run(
        tmp_path,
        rows(
            order(product="東京 $\\frac$")
            + order(order_id="2", product="a\nb\x0b" + "w" * 150, ordered_on="01.01.2000")
        ),
    )
    found = run.process()
    pipeline.chart(found, tmp_path / "chart.png")
    # As it comes back from a JSON column: the same picture.
    again = json.loads(json.dumps(found, sort_keys=True))
    pipeline.chart(again, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "chart.png").read_bytes()
