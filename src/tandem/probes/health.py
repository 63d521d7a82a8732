"""What a process answers of itself over HTTP, for probes and for an autoscaler, and the file that says that it is ready."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from tandem.exceptions import ConfigurationError
from tandem.probes.loops import HANGS_SECONDS, Loop, Watch

__all__ = ["ALIVE", "READY", "Answer", "Health", "Route", "address_of", "listen"]

ALIVE: Final = "/-/alive"
READY: Final = "/-/ready"
READY_FILE: Final = "TANDEM_READY_FILE"
_START: Final = "The start"
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


class Health(Watch):
    """One process's health.

    Ready is a process that said so, and whose loops all do their work: none has failed, or hung, for longer than its
    patience, a lease for most. One that was told to end stays so: Kubernetes sends nothing more to a pod that ends, and
    makes a Warning event of each probe that fails until it has. Alive is one none of whose loops hangs, has ended, or has
    failed for 300 s by an error that nobody expected.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self._ready = False
        self.beat(_START, patience=HANGS_SECONDS)

    def listen(self, bind: str) -> None:
        """Answer probes on HOST:PORT; raises `ConfigurationError` where the address cannot be had."""
        listen(bind, self.routes(), option="--health")

    def routes(self) -> dict[str, Route]:
        """The two addresses, for a process that answers others too."""
        return {ALIVE: self._alive, READY: self._is_ready}

    def begin(self) -> None:
        """Say that work is taken from now on, to probes and in the file that `TANDEM_READY_FILE` names."""
        self.left(_START)
        self._ready = True
        if path := os.environ.get(READY_FILE):
            Path(path).touch()

    def _alive(self, _: Mapping[str, str]) -> Answer:
        return _answer(self.hanging(), "alive")

    def _is_ready(self, _: Mapping[str, str]) -> Answer:
        return _answer(self.trouble() if self._ready else "It starts.", "ready")


def _answer(reason: str | None, well: str) -> Answer:
    if reason is None:
        return Answer(body=f"{well}\n")
    return Answer(status=HTTPStatus.SERVICE_UNAVAILABLE, body=f"Not {well}: {reason}\n")
