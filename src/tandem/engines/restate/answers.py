"""Reading Restate's answers from the bytes of a kept HTTP/1.1 connection: a status, headers, a whole body."""

from typing import Final

from tandem.engines.restate.messages import Answer

__all__ = ["read_answer"]

_MOST_HEAD: Final = 65_536
_INFORMATION: Final = 1
_WITHOUT_BODY: Final = frozenset({204, 304})


def read_answer(received: bytearray, *, ended: bool) -> tuple[Answer, bool] | None:
    """Take one whole answer from the front of what was received, and say whether the connection can be kept.

    None where more is to come. `ended`: nothing will. Raises
    `ConnectionError` for what is no HTTP, or ended too soon.
    """
    while True:
        end = received.find(b"\r\n\r\n")
        if end < 0:
            if ended or len(received) > _MOST_HEAD:
                raise ConnectionError("the connection was closed" if ended else "the answer is no HTTP")
            return None
        status, headers = _head(bytes(received[:end]))
        if status // 100 != _INFORMATION:
            break
        del received[: end + 4]
    found = _body(received, end + 4, status, headers, ended=ended)
    if found is None:
        if ended:
            raise ConnectionError("the connection was closed within an answer")
        return None
    content, size, kept = found
    del received[:size]
    return Answer(status, headers, content), kept and headers.get("connection", "").lower() != "close"


def _head(text: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = text.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest.partition(" ")[0]
    if not version.startswith("HTTP/1.") or not status.isdecimal():
        raise ConnectionError(f"the answer begins with {first[:60]!r}, which is no HTTP")
    fields = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in fields}
    return int(status), headers | ({} if version == "HTTP/1.1" else {"connection": "close"})


def _body(
    received: bytearray, start: int, status: int, headers: dict[str, str], *, ended: bool
) -> tuple[bytes, int, bool] | None:
    """Return the body, where it ends, and whether another answer can follow it."""
    if status in _WITHOUT_BODY:
        return b"", start, True
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _chunks(received, start)
    length = headers.get("content-length")
    if length is None:
        return (bytes(received[start:]), len(received), False) if ended else None
    if not length.isdecimal():
        raise ConnectionError(f"an answer's content-length is {length[:20]!r}")
    end = start + int(length)
    return (bytes(received[start:end]), end, True) if len(received) >= end else None


def _chunks(received: bytearray, at: int) -> tuple[bytes, int, bool] | None:
    content = bytearray()
    while (end := received.find(b"\r\n", at)) >= 0:
        try:
            size = int(received[at:end].partition(b";")[0], 16)
        except ValueError as error:
            raise ConnectionError(f"a chunk's size is {bytes(received[at:end])[:20]!r}") from error
        if size == 0:
            # Trailers, if any, end with an empty line.
            last = received.find(b"\r\n\r\n", at) if received[end + 2 : end + 4] != b"\r\n" else end
            return (bytes(content), last + 4, True) if last >= 0 and len(received) >= last + 4 else None
        at = end + 2 + size + 2
        if len(received) < at:
            return None
        content += received[end + 2 : at - 2]
    return None
