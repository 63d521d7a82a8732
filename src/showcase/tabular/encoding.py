"""What kind of file it is and how its text is encoded, from all of its bytes."""

import codecs
import re
from pathlib import Path

from showcase.tabular.exceptions import UnreadableFileError
from showcase.tabular.lines import BLOCK

__all__ = ["find_encoding"]

SAVE = "Save it as CSV in UTF-8."
# How other files start, what they are, and the way out.
MAGIC = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "unpack the archive, or save the workbook as CSV"),
    (b"PK\x05\x06", "an empty ZIP archive", "upload the CSV itself"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"BZh91AY&SY", "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ\x00", "an xz archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document", "save it as CSV"),
    (b"%PDF-", "a PDF document", "export its table as CSV"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", "upload the table it shows as CSV"),
    (b"PAR1\x15", "a Parquet file", "export it as CSV"),
)
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
NAMES = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8", "utf-16": "UTF-16", "cp1252": "Windows-1252"}
# A file may hold a form feed, a vertical tab or DOS's end of file and be text.
CONTROL = re.compile(rb"[\x01-\x08\x0e-\x19\x1b-\x1f\x7f]")


def find_encoding(path: Path) -> str:
    """The codec that decodes the whole file: utf-8, utf-8-sig or utf-16 (by their marks), or cp1252.

    Raises `UnreadableFileError` for an empty file, for archives and other known kinds of files (nothing is ever
    unpacked), for NUL anywhere, for control characters in the first 256 KiB, and for bytes in no known encoding.
    """
    with path.open("rb") as file:
        head = file.read(BLOCK)
    if not head:
        raise UnreadableFileError("The file is empty: its first line must name the columns.")
    for magic, kind, way_out in MAGIC:
        if head.startswith(magic):
            raise UnreadableFileError(f"This is {kind}, not a CSV: {way_out}.")
    marked = next((encoding for mark, encoding in MARKS if head.startswith(mark)), None)
    if marked != "utf-16" and (control := CONTROL.search(head)):
        raise UnreadableFileError(
            f"The file is binary, not text: byte {control.start() + 1:,} is the control character "
            f"0x{control[0][0]:02X}. {SAVE}"
        )
    candidates = ("utf-8", "cp1252") if marked is None else (marked,)
    bad = -1
    for encoding in candidates:
        bad = _first_bad_byte(path, encoding)
        if bad < 0:
            return encoding
    with path.open("rb") as file:
        file.seek(bad)
        value = file.read(1)
    known = " or ".join(NAMES[encoding] for encoding in candidates)
    raise UnreadableFileError(f"Byte {bad + 1:,} of the file, 0x{value.hex().upper()}, is not {known} text. {SAVE}")


def _first_bad_byte(path: Path, encoding: str) -> int:
    """Where the file stops to be text in this encoding; -1 where all of it is. Raises for NUL, which no text has."""
    # UTF-8's mark is UTF-8 too, and its own codec does not count it.
    decoder = codecs.getincrementaldecoder(encoding.removesuffix("-sig"))()
    position = 0
    with path.open("rb") as file:
        while True:
            block = file.read(BLOCK)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return position - pending + error.start
            if "\0" in text:
                raise UnreadableFileError(
                    f"The file is binary, not text: it holds a NUL within bytes {position + 1:,} to "
                    f"{position + len(block):,}. {SAVE}"
                )
            if not block:
                return -1
            position += len(block)
