"""Many sends at a tenth of their usual cost: written ahead of their answers, over a few kept connections.

HTTP/1.1 allows it and httpx does not; the standard library's parser reads the answers. Restate takes the requests of
one connection one after the other, so a batch is spread over several. Every send has an idempotency key: what a
broken connection leaves open is sent again.
"""

import http.client
import io
import queue
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast
from urllib.parse import urlsplit

from tandem.configuration import RestateOptions
from tandem.engines.restate.client import unavailable
from tandem.engines.restate.messages import Answer, Query, RestateRefused

__all__ = ["Pipeline"]

_CONNECTIONS: Final = 8
# What is in flight on a connection fits into the sockets' buffers, both ways: neither side can block the other.
_AHEAD: Final = 32


class _Connection:
    """One kept connection; used by one thread at a time."""

    def __init__(self, options: RestateOptions) -> None:
        parts = urlsplit(options.ingress_url)
        secure = parts.scheme == "https"
        self.host = parts.netloc
        raw = socket.create_connection(
            (parts.hostname or "127.0.0.1", parts.port or (443 if secure else 80)), timeout=options.connect_timeout
        )
        raw.settimeout(options.request_timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = ssl.create_default_context().wrap_socket(raw, server_hostname=parts.hostname) if secure else raw
        self._answers = _Answers(self.socket.makefile("rb"))

    def exchange(self, queries: Sequence[Query[Any]]) -> list[Answer]:
        """Write requests, then read their answers. Raises OSError or HTTPException where the connection breaks."""
        self.socket.sendall(b"".join(_request(query, self.host) for query in queries))
        return [self._read(query.method) for query in queries]

    def _read(self, method: str) -> Answer:
        # The parser asks a socket for nothing but a file to read from.
        answer = http.client.HTTPResponse(cast("socket.socket", self._answers), method=method)
        answer.begin()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def close(self) -> None:
        self.socket.close()


class _Answers:
    """The one buffered file of a connection, for one parser after the other: none may close it."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def makefile(self, _mode: str) -> "_Answers":
        return self

    def close(self) -> None:
        """Leave it open: the next answer follows."""

    def flush(self) -> None:
        """Nothing is written."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Pipeline:
    """Sends batches; any thread may, and a process after a fork makes its own."""

    def __init__(self, options: RestateOptions) -> None:
        self.options = options
        self._idle: queue.SimpleQueue[_Connection] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="tandem-restate-send")

    def ask_all[T](self, queries: Sequence[Query[T]]) -> list[T | RestateRefused]:
        """Send all, and read each answer or why it was refused.

        Raises `BrokerUnavailable` where Restate did not answer; the others may have arrived.
        """
        width = max(1, min(_AHEAD, -(-len(queries) // _CONNECTIONS)))
        parts = [queries[start : start + width] for start in range(0, len(queries), width)]
        return [answer for part in self._threads.map(self._ask, parts) for answer in part]

    def _ask[T](self, queries: Sequence[Query[T]]) -> list[T | RestateRefused]:
        try:
            responses = self._exchange(self._kept, queries)
        except (OSError, http.client.HTTPException):
            # A kept connection that the server has closed meanwhile.
            try:
                responses = self._exchange(lambda: _Connection(self.options), queries)
            except (OSError, http.client.HTTPException) as error:
                raise unavailable(queries[0], error, self.options) from error
        return [_answer(query, response) for query, response in zip(queries, responses, strict=True)]

    def _exchange(self, connect: Callable[[], _Connection], queries: Sequence[Query[Any]]) -> list[Answer]:
        connection = connect()
        try:
            responses = connection.exchange(queries)
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)
        return responses

    def _kept(self) -> _Connection:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return _Connection(self.options)

    def map[A, B](self, call: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """Make calls that are no sends, several at once, on the same threads."""
        return list(self._threads.map(call, items))

    def close(self) -> None:
        """Close the connections that are idle, and end the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        while not self._idle.empty():
            self._idle.get().close()


def _answer[T](query: Query[T], response: Answer) -> T | RestateRefused:
    try:
        return query.read(response)
    except RestateRefused as error:
        return error


def _request(query: Query[Any], host: str) -> bytes:
    headers = "".join(f"{name}: {value}\r\n" for name, value in query.headers.items())
    path = urlsplit(query.url).path
    head = f"{query.method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {len(query.content)}\r\n\r\n"
    return head.encode("ascii") + query.content
