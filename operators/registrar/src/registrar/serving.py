"""`/healthz` and `/metrics` over HTTP, in threads of their own, so that a hung event loop shows."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from registrar.metrics import REGISTRY

__all__ = ["serve"]


def serve(host: str, port: int, trouble: Callable[[], str | None]) -> ThreadingHTTPServer:
    """Start; call `shutdown` and `server_close` to stop. `trouble` says why `/healthz` is red, or `None`."""

    class Handler(BaseHTTPRequestHandler):
        """Answers GET; keeps no log of it."""

        def do_GET(self) -> None:
            if self.path == "/healthz":
                why = trouble()
                self._answer(503 if why else 200, f"{why or 'ok'}\n".encode(), "text/plain; charset=utf-8")
            elif self.path == "/metrics":
                self._answer(200, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
            else:
                self._answer(404, b"There are /healthz and /metrics.\n", "text/plain; charset=utf-8")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            """Say nothing: probes come every few seconds."""

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, name="health and metrics", daemon=True).start()
    return server
