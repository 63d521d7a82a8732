"""Physical lines of a file, read ahead as far as asked and no further."""

import codecs
import io
from typing import BinaryIO

__all__ = ["BLOCK", "MOST_CHARACTERS", "Lines"]

BLOCK = 256 * 1024
MOST_CHARACTERS = 64 * 1024


class Lines:
    """The lines of an open file with their ends, which are LF, CRLF or CR, each as it comes.

    A line of more than `MOST_CHARACTERS` is cut to one character more than that, so a file without line ends takes no
    memory either. `number` is the next line's, from 1; `bytes_read` counts the bytes taken from the file. Raises
    `UnicodeDecodeError` for bytes that are not in `encoding`.
    """

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self.number = 1
        self.bytes_read = 0
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._buffer: list[str] = []
        self._position = 0
        self._unfinished = ""
        self._ended = False

    def ahead(self, least: int, most: int) -> list[str]:
        """The next lines without passing them: at least and at most so many, unless the file has fewer left."""
        while len(self._buffer) - self._position < least and not self._ended:
            self._fill()
        return self._buffer[self._position : self._position + most]

    def skip(self, count: int) -> None:
        """Pass so many lines, which were read ahead."""
        self._position += count
        self.number += count

    def _fill(self) -> None:
        del self._buffer[: self._position]
        self._position = 0
        block = self._file.read(BLOCK)
        self._ended = not block
        self.bytes_read += len(block)
        lines = list(io.StringIO(self._unfinished + self._decoder.decode(block, final=self._ended), newline=""))
        # A CR at the end of what is read may be the first half of a CRLF.
        self._unfinished = lines.pop() if lines and not self._ended and not lines[-1].endswith("\n") else ""
        if len(self._unfinished) > MOST_CHARACTERS:
            self._unfinished = self._unfinished[:MOST_CHARACTERS] + self._unfinished[-1]
        if max(map(len, lines), default=0) > MOST_CHARACTERS:
            lines = [line[: MOST_CHARACTERS + 1] for line in lines]
        self._buffer += lines
