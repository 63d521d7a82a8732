"""The inbox's read-only page and JSON, served from a thread of the inbox's process."""

import dataclasses
import http.server
import json
import socketserver
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from urllib.parse import parse_qs, urlsplit

from tandem.embedded.inbox.store import Store
from tandem.probes.loops import Loop

__all__ = ["LISTED_AT_MOST", "LISTED_BY_DEFAULT", "serving"]

LISTED_BY_DEFAULT = 100
LISTED_AT_MOST = 1000
_TURN_SECONDS = 0.1
_STOP_SECONDS = 5.0

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5"><title>Inbox</title><style>
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1rem; color: #1b1f24; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ padding: .4rem .6rem; text-align: left; border-bottom: 1px solid #d0d7de; vertical-align: top; }}
td {{ overflow-wrap: anywhere; }} .number {{ text-align: right; white-space: nowrap; }}
.repeated {{ background: #fff3c4; }} .scroll {{ overflow-x: auto; }}
</style></head><body><h1>Inbox</h1>
<p><strong>{accepted}</strong> accepted, <strong>{distinct}</strong> distinct by Message-ID:
{duplicates} for a receiver to drop. <a href="/messages.json">As JSON</a></p>
<div class="scroll"><table><caption>The last {listed} messages</caption><thead><tr><th scope="col">Last accepted (UTC)
</th><th scope="col">To</th><th scope="col">Subject</th><th scope="col">Message-ID</th>
<th scope="col" class="number">Times accepted</th></tr></thead><tbody>
{rows}</tbody></table></div></body></html>
"""

ROW = (
    '<tr{repeated}><td><time datetime="{at}">{at}</time></td><td>{to}</td><td>{subject}</td><td>{message_id}</td>'
    '<td class="number">{accepted}</td></tr>\n'
)


def render(store: Store) -> str:
    """Return the page as HTML."""
    totals = store.totals()
    messages = store.latest(limit=LISTED_BY_DEFAULT)
    rows = "".join(
        ROW.format(
            repeated=' class="repeated"' if message.accepted > 1 else "",
            at=escape(message.last_accepted_at),
            to=escape(", ".join(message.recipients)),
            subject=escape(message.subject),
            message_id=escape(message.message_id),
            accepted=message.accepted,
        )
        for message in messages
    )
    return PAGE.format(
        accepted=totals.accepted,
        distinct=totals.distinct,
        duplicates=totals.accepted - totals.distinct,
        listed=len(messages),
        rows=rows,
    )


def listing(store: Store, query: Mapping[str, list[str]]) -> dict[str, object]:
    """Return totals and messages for ``?limit=`` (1000 at most) and ``?message_id=``; ValueError for a bad limit."""
    text = query.get("limit", [str(LISTED_BY_DEFAULT)])[-1]
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= LISTED_AT_MOST:
        raise ValueError(f"limit={text} is not a whole number from 1 to {LISTED_AT_MOST}")
    messages = store.latest(limit=int(text), message_id=query.get("message_id", [None])[-1])
    return {**dataclasses.asdict(store.totals()), "messages": [dataclasses.asdict(message) for message in messages]}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD; any other method gets the base class's 501."""

    protocol_version = "HTTP/1.1"
    timeout = 10
    server: "Server"

    def do_GET(self) -> None:
        """Answer one request."""
        address = urlsplit(self.path)
        store = self.server.store
        try:
            if address.path == "/":
                self._answer(200, "text/html", render(store))
            elif address.path == "/messages.json":
                self._answer(200, "application/json", json.dumps(listing(store, parse_qs(address.query))))
            elif address.path == "/health":
                store.totals()
                self._answer(200, "text/plain", "ok\n")
            else:
                self._answer(404, "text/plain", f"no page {address.path}: there are /, /messages.json and /health\n")
        except ValueError as error:
            self._answer(400, "text/plain", f"{error}\n")
        except sqlite3.Error as error:
            self._answer(503, "text/plain", f"the messages cannot be read: {error}\n")

    def do_HEAD(self) -> None:
        """Answer as for GET, without the content."""
        self.do_GET()

    def _answer(self, status: int, content_type: str, text: str) -> None:
        content = text.encode("utf-8", errors="replace")
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing: a page that reloads itself would fill the log."""


class Server(http.server.ThreadingHTTPServer):
    """A threading HTTP server that knows the store."""

    daemon_threads = True

    def __init__(self, *, address: tuple[str, int], store: Store) -> None:
        self.store = store
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Bind without asking DNS for this host's full name, which takes seconds where there is no DNS."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "inbox", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a browser that went away in the middle of an answer."""


@contextmanager
def serving(*, host: str, port: int, store: Store) -> Iterator[None]:
    """Serve the page while the block runs. Raises ``OSError`` when the port is taken."""
    with Server(address=(host, port), store=store) as server:
        server.timeout = _TURN_SECONDS

        def answer() -> float:
            server.handle_request()
            return 0.0

        loop = Loop(name="The inbox's page", round=answer)
        loop.start()
        try:
            yield
        finally:
            loop.stop(within=_STOP_SECONDS)
