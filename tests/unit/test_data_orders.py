"""Made orders: the same each time, messy as said, and with findings that a recount agrees with."""

import csv
import json
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from showcase.data import DataFileError, expected_path, make_orders
from showcase.data.mess import COLUMNS, KINDS

CODECS = {"utf-8": "utf-8", "utf-8-sig": "utf-8-sig", "utf-16": "utf-16", "cp1252": "cp1252"}
DELIMITERS = {",": ",", ";": ";", "tab": "\t"}
HUGE = 65_536


def make(path: Path, **options: Any) -> dict[str, Any]:
    return make_orders(path, **{"rows": 3000, "seed": 5, **options})


def parsed(lines: list[str], delimiter: str) -> list[str] | None:
    """The fields of one whole record, None while a quote is open; raises `csv.Error` where text follows a quote."""
    try:
        return next(csv.reader(lines, delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            return None
        raise


def records(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | None]]:
    """Each record with the line it starts on; None for a line with a quote that is wrong."""
    lines = re.findall(r"[^\n]*\n", text)
    at = 0
    while at < len(lines):
        for end in range(at + 1, len(lines) + 1):
            try:
                fields = parsed(lines[at:end], delimiter)
            except csv.Error:
                fields, end = None, len(lines)  # noqa: PLW2901
            if fields is not None:
                yield at + 1, fields
                at = end
                break
        else:
            yield at + 1, None
            at += 1


def day(value: str) -> date | None:
    for pattern, order in ((r"(\d{4})-(\d\d)-(\d\d)", (1, 2, 3)), (r"(\d\d)\.(\d\d)\.(\d{4})", (3, 2, 1))):
        if found := re.fullmatch(pattern, value):
            try:
                made = date(*(int(found[group]) for group in order))
            except ValueError:
                return None
            return made if 2000 <= made.year <= 2099 else None
    return None


def whole(value: str, most: int) -> bool:
    return re.fullmatch("[0-9]+", value) is not None and 1 <= int(value) <= most


def first_bad(values: list[str]) -> str | None:
    number, ordered, customer, email, country, product, quantity, price, note = values
    good = {
        "order_id": whole(number, 9 * 10**18),
        "ordered_on": day(ordered) is not None,
        "customer": 1 <= len(customer) <= 200,
        "email": email == "" or re.fullmatch(r"[^@\s]+@[^@\s]+", email) is not None,
        "country": re.fullmatch("[A-Za-z]{2}", country) is not None,
        "product": 1 <= len(product) <= 200,
        "quantity": whole(quantity, 10_000),
        "unit_price": re.fullmatch(r"[0-9]+([.,][0-9]{1,2})?", price) is not None
        and float(price.replace(",", ".")) <= 1_000_000,
        "note": len(note) <= 10_000,
    }
    return next((column for column in COLUMNS if not good[column]), None)


def kind_of(fields: list[str] | None, seen: set[int]) -> str | None:
    if fields is None:
        return "quote"
    if not fields:
        return "empty line"
    if len(fields) != len(COLUMNS):
        return "fields"
    if any(len(field) > HUGE for field in fields):
        return "huge field"
    values = [field.strip() for field in fields]
    if bad := first_bad(values):
        return bad
    return "duplicate" if int(values[0]) in seen else None


def cents(price: str) -> int:
    whole_part, _, decimals = price.replace(",", ".").partition(".")
    return int(whole_part) * 100 + int(decimals.ljust(2, "0"))


def recount(text: str, delimiter: str) -> dict[str, Any]:
    """All findings over again, in the simplest way."""
    found = records(text, delimiter)
    assert next(found) == (1, list(COLUMNS))
    rejected: list[dict[str, Any]] = []
    accepted: list[tuple[date, list[str], int]] = []
    well_formed: list[list[str]] = []
    seen: set[int] = set()
    for line, fields in found:
        if fields is not None and len(fields) == len(COLUMNS):
            well_formed.append([field.strip() for field in fields])
        if kind := kind_of(fields, seen):
            rejected.append({"line": line, "kind": kind})
            continue
        values = well_formed[-1]
        ordered = day(values[1])
        assert ordered is not None
        seen.add(int(values[0]))
        accepted.append((ordered, values, int(values[6]) * cents(values[7])))
    return {
        "rows": len(accepted) + len(rejected),
        "accepted": len(accepted),
        "rejected": len(rejected),
        "kinds": dict(sorted(Counter(entry["kind"] for entry in rejected).items())),
        "lines": {"rejected": rejected[:1000]},
        "orders": len(accepted),
        "revenue_cents": sum(revenue for _, _, revenue in accepted),
        "first": min(ordered for ordered, _, _ in accepted).isoformat(),
        "last": max(ordered for ordered, _, _ in accepted).isoformat(),
        "customers": len({values[2] for _, values, _ in accepted}),
        "by_month": summed([(f"{ordered:%Y-%m}", revenue) for ordered, _, revenue in accepted]),
        "by_country": summed([(values[4].upper(), revenue) for _, values, revenue in accepted]),
        "top_products": top([(values[5], revenue) for _, values, revenue in accepted], "product"),
        "top_customers": top([(values[2], revenue) for _, values, revenue in accepted], "customer"),
        "columns": {
            column: described([values[place] for values in well_formed], column) for place, column in enumerate(COLUMNS)
        },
    }


def summed(pairs: list[tuple[str, int]]) -> dict[str, dict[str, int]]:
    return {
        name: {
            "orders": sum(1 for other, _ in pairs if other == name),
            "revenue_cents": sum(revenue for other, revenue in pairs if other == name),
        }
        for name in sorted({name for name, _ in pairs})
    }


def top(pairs: list[tuple[str, int]], named: str) -> list[dict[str, Any]]:
    ranked = sorted(summed(pairs).items(), key=lambda item: (-item[1]["revenue_cents"], item[0]))
    return [{named: name, **sums} for name, sums in ranked[:10]]


def described(values: list[str], column: str) -> dict[str, Any]:
    present = [value for value in values if value]
    counts: dict[str, Any] = {"records": len(values), "missing": len(values) - len(present)}
    if column not in {"order_id", "quantity", "unit_price"}:
        return counts
    numbers = [float(value.replace(",", ".")) for value in present if re.fullmatch(r"-?[0-9]+([.,][0-9]{1,3})?", value)]
    return counts | {
        "unparsed": len(present) - len(numbers),
        "count": len(numbers),
        "min": pytest.approx(min(numbers), rel=1e-12),
        "max": pytest.approx(max(numbers), rel=1e-12),
        "mean": pytest.approx(statistics.fmean(numbers), rel=1e-9),
        "standard_deviation": pytest.approx(statistics.stdev(numbers), rel=1e-9),
    }


def without_origin(findings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in findings.items() if name not in {"kind", "made"}}


@pytest.mark.parametrize(
    ("encoding", "delimiter", "seed"),
    [("utf-8", ",", 1), ("utf-8-sig", "tab", 2), ("utf-16", ",", 3), ("cp1252", ";", 4)],
)
def test_the_findings_agree_with_a_recount(encoding: str, delimiter: str, seed: int, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    findings = make(path, encoding=encoding, delimiter=delimiter, seed=seed)
    text = path.read_bytes().decode(CODECS[encoding])
    counted = recount(text, DELIMITERS[delimiter])
    assert without_origin(findings) == counted
    assert json.loads(expected_path(path).read_text(encoding="utf-8")) == findings
    assert findings["rows"] == 3000
    assert set(findings["kinds"]) == set(KINDS)


def test_the_findings_of_many_small_files_agree_with_a_recount(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    for seed in range(40):
        for delimiter, sign in DELIMITERS.items():
            findings = make(path, rows=120, seed=seed, delimiter=delimiter, force=True)
            counted = recount(path.read_text(encoding="utf-8"), sign)
            assert without_origin(findings) == counted, f"seed {seed}, delimiter {delimiter}"


@pytest.mark.parametrize("rows", [1, 2, 99, 100, 101])
def test_any_number_of_rows_is_that_many(rows: int, tmp_path: Path) -> None:
    findings = make(tmp_path / "orders.csv", rows=rows)
    assert (findings["rows"], findings["accepted"] + findings["rejected"]) == (rows, rows)
    if rows >= 100:
        assert set(findings["kinds"]) == set(KINDS)


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first.csv", "again.csv", "other.csv"))
    assert make(first) == make(again)
    make(other, seed=6)
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_a_row_has_about_a_hundred_bytes(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    make(path, rows=20_000)
    assert 90 <= path.stat().st_size / 20_000 <= 115


def test_every_kind_has_about_its_share(tmp_path: Path) -> None:
    findings = make(tmp_path / "orders.csv", rows=50_000)
    assert findings["rejected"] / 50_000 == pytest.approx(0.047, abs=0.005)
    assert findings["columns"]["email"]["missing"] / 50_000 == pytest.approx(0.057, abs=0.005)
    assert findings["kinds"]["ordered_on"] / 50_000 == pytest.approx(0.008, abs=0.002)


def test_the_mess_that_is_accepted_is_there(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    make(path)
    rows = [fields for _, fields in records(path.read_text(encoding="utf-8"), ",") if fields and len(fields) == 9][1:]
    kept = [fields for fields in rows if first_bad([field.strip() for field in fields]) is None]
    assert any("." in fields[1] for fields in kept)
    assert any("," in fields[7] for fields in kept)
    assert any(fields[4].strip().islower() for fields in kept)
    assert any(field != field.strip() for fields in kept for field in fields)
    assert any("\n" in fields[8] for fields in kept)
    for sign in 'üß",':
        assert any(sign in fields[2] for fields in kept), sign
    assert any(ord(letter) > 0x2FFF for fields in kept for letter in fields[8])


def test_a_clean_file_has_nothing_to_reject_or_to_tidy(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    findings = make(path, clean=True)
    assert (findings["accepted"], findings["kinds"]) == (3000, {})
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, strict=True))[1:]
    assert len(rows) == path.read_bytes().count(b"\n") - 1
    assert all(field == field.strip() for fields in rows for field in fields)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", fields[1]) and fields[4].isupper() for fields in rows)
    assert all(re.fullmatch(r"\d+\.\d\d", fields[7]) and fields[3] for fields in rows)


def test_no_more_than_a_thousand_lines_are_listed(tmp_path: Path) -> None:
    findings = make(tmp_path / "orders.csv", rows=25_000)
    assert findings["rejected"] > 1000
    assert len(findings["lines"]["rejected"]) == 1000


def test_utf_16_is_little_endian_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    make(path, encoding="utf-16", rows=10)
    assert path.read_bytes().startswith(b"\xff\xfeo\x00r\x00")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": 0}, "rows is 0, but must be a whole number from 1"),
        ({"rows": 100_000_001}, "from 1 to 100,000,000"),
        ({"encoding": "latin-9"}, "The encoding is 'latin-9', but must be one of utf-8, utf-8-sig, utf-16, cp1252"),
        ({"delimiter": "|"}, r"The delimiter is '\|', but must be one of , ; tab"),
    ],
)
def test_what_cannot_be_made_is_said(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=words):
        make(tmp_path / "orders.csv", **options)
    assert list(tmp_path.iterdir()) == []
