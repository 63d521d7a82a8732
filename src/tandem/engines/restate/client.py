"""The one client of Restate's ingress and admin API: bytes on kept sockets, one request at a time on each.

Restate takes the requests of a connection one after the other, so many are spread over many, and one thread waits for
all of them. No library's client is as cheap for each send.
"""

import selectors
import socket
import ssl
import threading
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from tandem.configuration import RestateOptions
from tandem.engines.restate.answers import read_answer
from tandem.engines.restate.messages import Answer, Query, RestateRefused
from tandem.exceptions import BrokerUnavailable

__all__ = ["RestateClient"]

_CONNECTIONS: Final = 32
_READ_BYTES: Final = 65_536
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_BOTH: Final = selectors.EVENT_READ | selectors.EVENT_WRITE


class _Connection:
    """One connection to `origin`; waits for nothing once it stands. `kept`: it has answered before."""

    def __init__(self, origin: str, *, connect_timeout: float) -> None:
        parts = urlsplit(origin)
        secure = parts.scheme == "https"
        address = (parts.hostname or "", parts.port or (443 if secure else 80))
        self.socket = socket.create_connection(address, timeout=connect_timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=parts.hostname)
        self.socket.setblocking(False)
        self.origin, self.host = origin, parts.netloc
        self.kept = False
        self._received, self._left = bytearray(), memoryview(b"")

    def begin(self, query: Query[Any]) -> bool:
        """Write a request; False where the rest of it waits for `push`."""
        self._left = memoryview(_request(query, self.host))
        return self.push()

    def push(self) -> bool:
        """Write what the socket takes."""
        while self._left:
            try:
                self._left = self._left[self.socket.send(self._left) :]
            except _NOT_NOW:
                return False
        return True

    def receive(self) -> Answer | None:
        """Read what has come; None where the answer is not whole yet. Raises `OSError` where the connection broke."""
        ended = False
        while not ended:
            try:
                some = self.socket.recv(_READ_BYTES)
            except _NOT_NOW:
                break
            ended = not some
            self._received += some
            if len(some) < _READ_BYTES and not isinstance(self.socket, ssl.SSLSocket):
                break
        found = read_answer(self._received, ended=ended)
        if found is None:
            return None
        answer, kept = found
        # More than was asked for belongs to nobody; nor does an answer to half a request leave a clean connection.
        self.kept = kept and not ended and not self._received and not self._left
        return answer

    def close(self) -> None:
        self.socket.close()


class RestateClient:
    """Carries requests; threads share its connections, and a process after a fork makes a client of its own."""

    def __init__(self, options: RestateOptions) -> None:
        self.options = options
        self._idle: defaultdict[str, deque[_Connection]] = defaultdict(deque)
        self._lock = threading.Lock()

    def ask[T](self, query: Query[T]) -> T:
        """Send one request and read its answer.

        Raises `BrokerUnavailable` where Restate did not answer in time, `RestateRefused` where it did not want to.
        """
        (answer,) = self._carry([query])
        return query.read(answer)

    def ask_all[T](self, queries: Sequence[Query[T]]) -> list[T | RestateRefused]:
        """Send all, and read each answer or why it was refused.

        Raises `BrokerUnavailable` where Restate did not answer; the others may have arrived.
        """
        return [_read(query, answer) for query, answer in zip(queries, self._carry(queries), strict=True)]

    def close(self) -> None:
        """Close the connections that are idle."""
        with self._lock:
            idle = [connection for origin in self._idle.values() for connection in origin]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _carry(self, queries: Sequence[Query[Any]]) -> list[Answer]:
        exchange = _Exchange(queries)
        with selectors.DefaultSelector() as selector:
            try:
                while exchange.unanswered:
                    while exchange.waiting and len(exchange.busy) < _CONNECTIONS:
                        self._begin(exchange, selector, exchange.waiting.popleft(), None)
                    self._turn(exchange, selector)
            finally:
                for connection in exchange.busy:
                    connection.close()
        return [exchange.answers[at] for at in range(len(queries))]

    def _begin(
        self, exchange: "_Exchange", selector: selectors.BaseSelector, at: int, connection: _Connection | None
    ) -> None:
        """Write a request on a connection: the given one, an idle one, or where that broke before, a new one."""
        query = exchange.queries[at]
        origin = _origin(query.url)
        try:
            if connection is None:
                connection = self._connection(origin, new=at in exchange.again)
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            exchange.busy[connection] = (at, time.monotonic() + query.seconds)
            if not connection.begin(query):
                selector.modify(connection.socket, _BOTH, connection)
        except (OSError, UnicodeError) as error:  # a URL's name or path may be none
            self._broke(exchange, selector, at, connection, error)

    def _turn(self, exchange: "_Exchange", selector: selectors.BaseSelector) -> None:
        """Wait until something can be read or written, and do that."""
        if not exchange.busy:
            return
        _, deadline = next(iter(exchange.busy.values()))
        ready = selector.select(max(0.0, deadline - time.monotonic()))
        if not ready:
            at, _ = next(iter(exchange.busy.values()))
            query = exchange.queries[at]
            raise self._unavailable(query, TimeoutError(f"no answer within {query.seconds:g} s"))
        for key, events in ready:
            connection: _Connection = key.data
            at, _ = exchange.busy[connection]
            try:
                if events & selectors.EVENT_WRITE and connection.push():
                    selector.modify(connection.socket, selectors.EVENT_READ, connection)
                answer = connection.receive()
            except OSError as error:
                self._broke(exchange, selector, at, connection, error)
                continue
            if answer is not None:
                exchange.answers[at] = answer
                self._next(exchange, selector, connection)

    def _next(self, exchange: "_Exchange", selector: selectors.BaseSelector, connection: _Connection) -> None:
        """Have a connection that answered carry the next request, or leave it for others."""
        del exchange.busy[connection]
        if not connection.kept:
            selector.unregister(connection.socket)
            connection.close()
        elif exchange.suits(connection):
            self._begin(exchange, selector, exchange.waiting.popleft(), connection)
        else:
            selector.unregister(connection.socket)
            with self._lock:
                idle = self._idle[connection.origin]
                if keeps := len(idle) < _CONNECTIONS:
                    idle.append(connection)
            if not keeps:
                connection.close()

    def _broke(
        self,
        exchange: "_Exchange",
        selector: selectors.BaseSelector,
        at: int,
        connection: _Connection | None,
        error: Exception,
    ) -> None:
        """Have a harmless request sent again once, on a new connection, where a kept one broke; else raise."""
        query = exchange.queries[at]
        if connection is not None:
            del exchange.busy[connection]
            selector.unregister(connection.socket)
            connection.close()
        if connection is None or not connection.kept or not query.harmless or at in exchange.again:
            raise self._unavailable(query, error) from error
        exchange.again.add(at)
        exchange.waiting.appendleft(at)

    def _connection(self, origin: str, *, new: bool) -> _Connection:
        if not new:
            with self._lock:
                if idle := self._idle[origin]:
                    return idle.pop()
        return _Connection(origin, connect_timeout=self.options.connect_timeout)

    def _unavailable(self, query: Query[Any], error: BaseException) -> BrokerUnavailable:
        """Say where Restate did not answer, and the way out."""
        name = "INGRESS_URL" if query.url.startswith(self.options.ingress_url) else "ADMIN_URL"
        what = str(error) or type(error).__name__
        return BrokerUnavailable(
            f"Restate does not answer at {query.url} ({what}). Start it, or correct ENGINES['restate'][{name!r}]."
        )


class _Exchange:
    """What is asked in one go: by its place each answer, what waits, what is sent a second time, who is busy with what."""

    def __init__(self, queries: Sequence[Query[Any]]) -> None:
        self.queries = queries
        self.waiting = deque(range(len(queries)))
        self.answers: dict[int, Answer] = {}
        self.again: set[int] = set()
        self.busy: dict[_Connection, tuple[int, float]] = {}

    def suits(self, connection: _Connection) -> bool:
        """Whether what waits first may be written on a connection that has answered before."""
        first = self.waiting[0] if self.waiting else None
        return first is not None and first not in self.again and _origin(self.queries[first].url) == connection.origin

    @property
    def unanswered(self) -> bool:
        return len(self.answers) < len(self.queries)


def _read[T](query: Query[T], answer: Answer) -> T | RestateRefused:
    try:
        return query.read(answer)
    except RestateRefused as error:
        return error


def _origin(url: str) -> str:
    return url[: url.find("/", url.index("//") + 2)]


def _request(query: Query[Any], host: str) -> bytes:
    headers = "".join(f"{name}: {value}\r\n" for name, value in query.headers.items())
    path = query.url[len(_origin(query.url)) :]
    head = f"{query.method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {len(query.content)}\r\n\r\n"
    return head.encode("ascii") + query.content
