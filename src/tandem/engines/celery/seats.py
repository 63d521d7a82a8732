"""What each child of a prefork pool holds, in memory that it shares with its parent.

The parent keeps its children's leases, and takes from a child that died what it held. It knows both from here alone,
whatever the pool says, and however often: from the child's own words, and from the kernel, which frees a dead child's
lock.
"""

import fcntl
import mmap
import os
import secrets
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final
from uuid import UUID

from tandem.ledger.rows import Lease

__all__ = ["Held", "Seat", "Seats"]

_SEATS: Final = 4096
# Number of the write, process, random part of the child's name, execution, fence, deadline, ended by a signal; and a checksum.
_ENTRY: Final = struct.Struct("<QQ4s16sQd?")
_COPY: Final = 64
_NOTHING: Final = bytes(16)
_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a child holds: the lease (its fence 0 while the child claims) and when its time limit is over, if ever.

    `signalled` is whether a signal ends the child.
    """

    seat: int
    pid: int
    lease: Lease
    deadline: float
    signalled: bool


class Seats:
    """The places of the children of one parent, which makes this before it forks.

    A child takes a place for its life, by a lock that the kernel frees when it dies. What a dead child held stays in
    its place, which nobody takes, until the parent has `reaped` it.
    """

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._file = _file()
        os.truncate(self._file.fileno(), _SEATS * 2 * _COPY)
        self._memory = mmap.mmap(self._file.fileno(), _SEATS * 2 * _COPY)

    def take(self) -> "Seat":
        """Take a place, in a child. Raises `RuntimeError` where all are taken."""
        for number in range(_SEATS):
            if not self._lock(number):
                continue
            written, entry = self._read(number)
            if entry is None:
                return Seat(self._memory, number, self.worker, written)
            self._unlock(number)
        raise RuntimeError(f"All {_SEATS} places for children of {self.worker} are taken.")

    def held(self) -> list[Held]:
        """What children hold, or held when they died."""
        return list(self._entries())

    def left(self) -> list[Held]:
        """What children held when they died, until it is `reaped`."""
        return [held for held in self.held() if self._is_free(held.seat)]

    def reaped(self, held: Held) -> None:
        """Clear the place of a dead child, whose execution is taken care of."""
        self._memory[held.seat * 2 * _COPY : (held.seat + 1) * 2 * _COPY] = bytes(2 * _COPY - 1) + b"\1"

    def _entries(self) -> Iterator[Held]:
        for number in range(_SEATS):
            if not any(self._bytes(number)):
                # Nobody ever sat here, or behind it: places are taken from the first on.
                return
            _, entry = self._read(number)
            if entry is not None:
                yield entry

    def _bytes(self, number: int) -> bytes:
        return self._memory[number * 2 * _COPY : (number + 1) * 2 * _COPY]

    def _read(self, number: int) -> tuple[int, Held | None]:
        """The newer of the two copies that is whole: one may be half written, by a child that was killed then."""
        text = self._bytes(number)
        newest, entry = 0, None
        for copy in (text[:_COPY], text[_COPY:]):
            body, checksum = copy[: _ENTRY.size], copy[_ENTRY.size : _ENTRY.size + 4]
            written, pid, token, id_, fence, deadline, signalled = _ENTRY.unpack(body)
            if written <= newest or checksum != _checksum(body):
                continue
            newest, entry = written, None
            if id_ != _NOTHING:
                lease = Lease(id=UUID(bytes=id_), fence=fence, worker=_name(self.worker, pid, token))
                entry = Held(seat=number, pid=pid, lease=lease, deadline=deadline, signalled=signalled)
        return newest, entry

    def _lock(self, number: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            return False
        return True

    def _unlock(self, number: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)

    def _is_free(self, number: int) -> bool:
        if free := self._lock(number):
            self._unlock(number)
        return free


class Seat:
    """A child's own place, and its name."""

    def __init__(self, memory: mmap.mmap, number: int, parent: str, written: int) -> None:
        self._memory, self._number, self._written = memory, number, written
        self._pid, self._token = os.getpid(), secrets.token_bytes(4)
        self._holds: tuple[bytes, int, float] = (_NOTHING, 0, _NEVER)
        self.worker = _name(parent, self._pid, self._token)
        self.leave()

    def claim(self, id_: UUID) -> None:
        """Say which execution is about to be claimed: should the child die now, its row may have the child's name."""
        self._write(id_.bytes, 0, _NEVER)

    def hold(self, lease: Lease, deadline: float | None) -> None:
        """Say what was claimed, and when its time limit is over, on the machine's monotonic clock."""
        self._write(lease.id.bytes, lease.fence, _NEVER if deadline is None else deadline)

    def leave(self) -> None:
        """Say that nothing is held any more."""
        self._write(_NOTHING, 0, _NEVER)

    def signalled(self) -> None:
        """Say that a signal ends this process, and leave what is held to the parent: it knows whether the worker ends."""
        self._write(*self._holds, signalled=True)

    def _write(self, id_: bytes, fence: int, deadline: float, *, signalled: bool = False) -> None:
        self._written += 1
        self._holds = (id_, fence, deadline)
        body = _ENTRY.pack(self._written, self._pid, self._token, id_, fence, deadline, signalled)
        start = (self._number * 2 + self._written % 2) * _COPY
        self._memory[start : start + _ENTRY.size + 4] = body + _checksum(body)


def _file() -> BinaryIO:
    """A file without a name, in memory where the system has that: a container's file system may be read only."""
    create = getattr(os, "memfd_create", None)
    return tempfile.TemporaryFile() if create is None else os.fdopen(create("tandem-seats"), "w+b")


def _checksum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "little")


def _name(parent: str, pid: int, token: bytes) -> str:
    return f"{parent}/{pid}-{token.hex()}"
