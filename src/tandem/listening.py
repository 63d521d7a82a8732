"""A small HTTP server on a thread, for probes and for what the autoscaler reads: a few addresses, GET only."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from tandem.exceptions import ConfigurationError
from tandem.loops import Loop

__all__ = ["Answer", "Route", "address_of", "listen"]

_SECONDS: Final = 10.0
_TURN_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A status and a body of text or, by `kind`, of JSON."""

    status: HTTPStatus = HTTPStatus.OK
    body: str
    kind: str = "text/plain; charset=utf-8"


def address_of(bind: str) -> tuple[socket.AddressFamily, str, int]:
    """Read HOST:PORT, where an IPv6 address stands in brackets: the family, the host and the port to listen on.

    Raises `ValueError` or `OSError` where it names no address. A name of both kinds is listened to on IPv4.
    """
    host, _, port = bind.rpartition(":")
    if int(port) not in range(2**16):
        raise ValueError(f"a port is at most {2**16 - 1}")
    host = host.removeprefix("[").removesuffix("]")
    found = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    families = {family for family, *_ in found}
    return socket.AF_INET if socket.AF_INET in families else socket.AF_INET6, host, int(port)


type Route = Callable[[Mapping[str, str]], Answer]


def listen(bind: str, routes: Mapping[str, Route], *, option: str) -> ThreadingHTTPServer:
    """Answer each path of `routes` on `bind` (HOST:PORT; port 0: any free one), from a thread, until the process ends.

    A route is given the query's parameters, the last of each name. Raises `ConfigurationError`, which names the
    command's `option`, where the address cannot be had.
    """

    class Handler(BaseHTTPRequestHandler):
        # A client that sends nothing holds a thread for no longer.
        timeout = _SECONDS

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            route = routes.get(url.path)
            answer = (
                Answer(status=HTTPStatus.NOT_FOUND, body=f"Nothing is at {url.path}. Here are: {', '.join(routes)}\n")
                if route is None
                else route(dict(parse_qsl(url.query)))
            )
            content = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Probes come every few seconds: none is worth a line."""

    try:
        family, host, port = address_of(bind)
        kind: type[ThreadingHTTPServer] = type("Server", (ThreadingHTTPServer,), {"address_family": family})
        server = kind((host, port), Handler)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"Cannot answer on {bind!r}: {error}. Give {option} another HOST:PORT.") from error
    server.daemon_threads = True
    server.timeout = _TURN_SECONDS
    Loop(name=f"Answering on {bind}", round=partial(_answer_one, server)).start()
    return server


def _answer_one(server: ThreadingHTTPServer) -> float:
    server.handle_request()
    return 0.0
