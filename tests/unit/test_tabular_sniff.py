"""What a file is found to be, and what is refused."""

import codecs
import gzip
import io
import resource
import sys
import zipfile
from pathlib import Path

import pytest

from showcase.tabular import Dialect, UnreadableFileError, chunks, sniff

COLUMNS = ("id", "name")


def written(folder: Path, content: bytes) -> Path:
    path = folder / "data.csv"
    path.write_bytes(content)
    return path


def rows(path: Path) -> list[list[str]]:
    return [row for chunk in chunks(path, sniff(path)) for row in chunk.rows]


@pytest.mark.parametrize(
    ("content", "encoding", "name"),
    [
        ("id,name\n1,Zoë\n".encode(), "utf-8", "Zoë"),
        (codecs.BOM_UTF8 + "id,name\n1,Zoë\n".encode(), "utf-8-sig", "Zoë"),
        ("id,name\n1,Zoë €\n".encode("cp1252"), "cp1252", "Zoë €"),
        ("id,name\n1,Zoë 東京\n".encode("utf-16"), "utf-16", "Zoë 東京"),
        (codecs.BOM_UTF16_BE + "id,name\n1,𝄞\n".encode("utf-16-be"), "utf-16", "𝄞"),
    ],
)
def test_encodings(tmp_path: Path, content: bytes, encoding: str, name: str) -> None:
    path = written(tmp_path, content)
    assert sniff(path) == Dialect(encoding=encoding, delimiter=",", columns=COLUMNS)
    assert rows(path) == [["1", name]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    text = f'id{delimiter}"name"\n1{delimiter}Ann\n'
    assert sniff(written(tmp_path, text.encode())) == Dialect(encoding="utf-8", delimiter=delimiter, columns=COLUMNS)


def test_the_delimiter_is_the_one_that_the_records_have_too(tmp_path: Path) -> None:
    path = written(tmp_path, b"name, first;age\nLovelace, Ada;36\nNoether;53\nHopper;85\n")
    assert sniff(path).delimiter == ";"
    assert sniff(path).columns == ("name, first", "age")


def test_one_column_needs_no_delimiter(tmp_path: Path) -> None:
    path = written(tmp_path, b"name\nAnn\nBob;Carl")
    assert sniff(path).columns == ("name",)
    assert rows(path) == [["Ann"], ["Bob;Carl"]]


def test_only_a_header_is_a_table_without_rows(tmp_path: Path) -> None:
    for content in (b"id,name", b"id,name\r\n", b" id , name \r"):
        path = written(tmp_path, content)
        assert sniff(path).columns == COLUMNS
        assert list(chunks(path, sniff(path))) == []


def test_a_header_may_be_quoted_over_two_lines(tmp_path: Path) -> None:
    path = written(tmp_path, b'id,"full\nname"\n1,Ann\n')
    assert sniff(path).columns == ("id", "full\nname")
    assert [chunk.lines for chunk in chunks(path, sniff(path))] == [[3]]


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("data.csv", b"0" * 10_000_000)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty"),
        (archive(), "This is a ZIP archive or an Excel workbook, not a CSV: unpack the archive"),
        (gzip.compress(b"id,name\n", mtime=0), "This is a gzip archive, not a CSV: unpack it first"),
        (b"%PDF-1.7\n", "This is a PDF document"),
        (b"\x89PNG\r\n\x1a\n\0\0", "This is a PNG picture"),
        (b"PAR1\x15\x04", "This is a Parquet file"),
        (b"\x7fELF\x02\x01\x01\0", "binary, not text: byte 1 is the control character 0x7F"),
        (b"id,name\n1,\x00\n", "binary, not text: it holds a NUL within bytes 1 to 12"),
        (b"id,name\n" + b"1,Ann\n" * 100_000 + b"\0", "it holds a NUL within bytes 524,289 to 600,009"),
        ("id,name\n1,\0\n".encode("utf-16"), "holds a NUL"),
        (b"id,name\n1,Zo\x81\n", "Byte 13 of the file, 0x81, is not UTF-8 or Windows-1252 text"),
        (codecs.BOM_UTF8 + b"id,name\n1,Zo\xe9\n", "Byte 16 of the file, 0xE9, is not UTF-8 text"),
        ("id,name\n".encode("utf-16") + b"\n", "is not UTF-16 text"),
        (b"\nid,name\n", "The first line is empty"),
        (b"   \r\n", "The first line is empty"),
        (b",,\n1,2,3\n", "must name the columns, but it holds: ', , '"),
        (b"1,2.5,-3\n4,5,6\n", "must name the columns, but it holds: '1, 2.5, -3'"),
        (b"id,,name\n", "Column 2 of 3 has no name"),
        (b"id,name, id\n", "Columns 1 and 3 are both named 'id'"),
        (b'id,"name\n1,Ann\n', "quotes in the first line do not match"),
        (b"a," * 200 + b"b\n", "The first line has 201 columns; the most is 200"),
        (b"n" * 70_000 + b"\n", "The first line has 70,000 characters; the most is 65,536"),
    ],
)
def test_what_is_refused_says_why(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(UnreadableFileError) as refused:
        sniff(written(tmp_path, content))
    assert words in str(refused.value)


def test_a_bad_byte_is_found_at_the_end_of_a_long_file(tmp_path: Path) -> None:
    whole = b"id,name\n" + "1,Zoë\n".encode() * 300_000
    assert sniff(written(tmp_path, whole)).encoding == "utf-8"
    assert sniff(written(tmp_path, whole + b"2,Zo\xeb")).encoding == "cp1252"
    with pytest.raises(UnreadableFileError, match="Byte 2,100,011 of the file, 0x9D, is not UTF-8 or Windows-1252"):
        sniff(written(tmp_path, b"id,name\n" + b"1,Ann\n" * 350_000 + b"2,\x9d"))


def test_a_character_may_lie_across_two_blocks(tmp_path: Path) -> None:
    for shift in range(3):
        path = written(
            tmp_path, b"id,name\n1," + b"x" * shift + "€".encode() * 20_000 + b"\n" + b"2,\xe2\x82\xac\n" * 99_999
        )
        assert sniff(path).encoding == "utf-8"
        found = rows(path)
        assert len(found) == 100_000
        assert {row[1].strip("x€") for row in found} == {""}


def test_a_million_columns_are_counted_and_not_held(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    with path.open("wb") as file:
        for number in range(1000):
            file.write(b"".join(b"%060d," % (number * 1000 + place) for place in range(1000)))
        file.write(b"last\n1,2\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableFileError, match="1,000,001 columns; the most is 200"):
        sniff(path)
    unit = 1024 if sys.platform == "linux" else 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 16 * 1024 * 1024


def test_a_file_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, b"id,name\n1,Ann\n")
    dialect = sniff(path)
    for content in (b"", b"id,email\n1,Ann\n", b"id,name\n1,\xe9\n"):
        written(tmp_path, content)
        with pytest.raises(UnreadableFileError, match="changed while it was read"):
            list(chunks(path, dialect))
