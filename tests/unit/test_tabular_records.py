"""Each record is a row or rejected, exactly once."""

import csv
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showcase.tabular import Chunk, Dialect, Rejected, chunks
from showcase.tabular.lines import BLOCK, MOST_CHARACTERS
from showcase.tabular.records import MOST_LINES

COLUMNS = ("a", "b")
DIALECT = Dialect(encoding="utf-8", delimiter=",", columns=COLUMNS)


def read(text: str, *, rows: int = 20_000) -> list[Chunk]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        path.write_bytes(("a,b\n" + text).encode())
        return list(chunks(path, DIALECT, rows=rows))


def accepted(found: list[Chunk]) -> dict[int, list[str]]:
    return {line: row for chunk in found for line, row in zip(chunk.lines, chunk.rows, strict=True)}


def rejected(found: list[Chunk]) -> list[Rejected]:
    return [each for chunk in found for each in chunk.rejected]


def refusals(text: str) -> list[tuple[int, str, str, str]]:
    return [(each.line, each.kind, each.reason, each.text) for each in rejected(read(text))]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_with_each_kind_of_line_end(end: str) -> None:
    text = end.join(["1,2", '"x,y","say ""hi"""', f'"two{end}lines",3', "last,row"])
    for last in ("", end):
        assert accepted(read(text + last)) == {
            2: ["1", "2"],
            3: ["x,y", 'say "hi"'],
            4: [f"two{end}lines", "3"],
            6: ["last", "row"],
        }


def test_ragged_rows_and_empty_lines_are_rejected_with_their_text() -> None:
    assert refusals('1,2\n1\n\n1,2,3\r\n"x\ny"\n1,2\n') == [
        (3, "fields", "1 field, not 2", "1"),
        (4, "empty line", "the line is empty", ""),
        (5, "fields", "3 fields, not 2", "1,2,3"),
        (6, "fields", "1 field, not 2", '"x\ny"'),
    ]


def test_after_a_quote_that_is_never_closed_the_next_line_is_read() -> None:
    found = read('1,"2\n3,4\n5,6\n')
    assert accepted(found) == {3: ["3", "4"], 4: ["5", "6"]}
    assert [(each.line, each.kind, each.text) for each in rejected(found)] == [(2, "quote", '1,"2')]
    assert "not closed within 100 lines and 65,536 characters" in rejected(found)[0].reason


def test_text_after_a_closing_quote_rejects_one_line() -> None:
    assert refusals('"1"x,2\n3,4\n5,"6\n7,"8"\n') == [
        (2, "quote", "text follows a closing quote in line 2", '"1"x,2'),
        (4, "quote", "text follows a closing quote in line 5", '5,"6'),
    ]


def test_a_record_may_have_as_many_lines_as_the_limit_says_and_no_more() -> None:
    for lines in (MOST_LINES, MOST_LINES + 1):
        for before in (0, 5000):
            record = '1,"' + "\n" * (lines - 1) + '"\n'
            found = read("0,0\n" * before + record + "3,4\n")
            if lines <= MOST_LINES:
                assert not rejected(found)
                assert accepted(found)[before + 2] == ["1", "\n" * (lines - 1)]
            else:
                assert (rejected(found)[0].line, rejected(found)[0].kind) == (before + 2, "quote")
                assert rejected(found)[1].kind == "empty line"
            assert accepted(found)[before + lines + 2] == ["3", "4"]


def test_a_huge_field_is_rejected_and_not_held() -> None:
    fitting = "x" * (MOST_CHARACTERS - len(",2\n"))
    text = f'{fitting},2\n{fitting}x,2\n"{"y" * 3 * BLOCK},2\n5,6\n"{fitting}\n{fitting}",8\n'
    found = read(text)
    assert [(each.line, each.kind, len(each.text)) for each in rejected(found)] == [
        (3, "huge field", 1000),
        (4, "huge field", 1000),
        (6, "quote", 1000),
        (7, "fields", 1000) if len(fitting) + 4 <= MOST_CHARACTERS else (7, "huge field", 1000),
    ]
    assert rejected(found)[0].reason == "more than 65,536 characters in one line"
    assert sorted(accepted(found)) == [2, 5]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_across_blocks_are_one(end: str) -> None:
    for filler in range(BLOCK - 14, BLOCK):
        # Lines too long to be held, so that cutting them must keep their ends.
        found = read("x" * filler + end + "1,2" + end)
        assert [each.line for each in rejected(found)] == [2]
        assert accepted(found) == {3: ["1", "2"]}


def test_chunks_have_at_most_the_rows_asked_for_and_count_bytes() -> None:
    text = "1,2\n1\n" * 50
    found = read(text, rows=7)
    assert [len(chunk.rows) + len(chunk.rejected) for chunk in found] == [7] * 14 + [2]
    assert found[-1].bytes_read == len("a,b\n" + text)


def test_wide_rows_come_in_smaller_chunks() -> None:
    found = read(f"1,{'x' * 50_000}\n" * 600)
    assert max(len(chunk.rows) for chunk in found) < 300
    assert sum(len(chunk.rows) for chunk in found) == 600


PIECES = st.sampled_from(
    ['"', '""', ",", "\n", "\r", "\r\n", "x", "é", " ", "1,2", '"x\ny",z', '"x"y', "\n" * 60, "\x1c\x85"]
)


@settings(deadline=None, derandomize=True)
@given(st.lists(PIECES, max_size=40).map("".join), st.integers(1, 20))
def test_rows_and_rejected_cover_each_line_once(text: str, rows: int) -> None:
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", "a,b\n" + text)
    found = read(text, rows=rows)
    whole = read(text)
    assert (accepted(found), rejected(found)) == (accepted(whole), rejected(whole))
    records: dict[int, list[str] | Rejected] = dict(accepted(found))
    assert not records.keys() & {each.line for each in rejected(found)}
    records.update({each.line: each for each in rejected(found)})
    assert len(records) == sum(len(chunk.rows) + len(chunk.rejected) for chunk in found)
    texts = {line: text for chunk in found for line, text in zip(chunk.lines, chunk.texts, strict=True)}
    for record, raw in covered(sorted(records), lines):
        what = records[record]
        if isinstance(what, Rejected):
            assert what.text == raw.rstrip("\r\n")
            assert what.kind != "quote" or raw.count("\n") + raw.count("\r") - raw.count("\r\n") <= 1
        else:
            assert texts[record] == raw
            assert [what] == list(csv.reader(re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", raw), strict=True))


def covered(starts: list[int], lines: list[str]) -> Iterator[tuple[int, str]]:
    """Each record with its raw text: from its line to the next record's."""
    assert starts[:1] == ([2] if len(lines) > 1 else [])
    for start, end in pairwise([*starts, len(lines) + 1]):
        yield start, "".join(lines[start - 1 : end - 1])
