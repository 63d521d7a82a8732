"""What serves the SDK's application in a process: granian, embedded, or hypercorn; our socket, our loop, our signals."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server
from h2.connection import H2Connection
from hypercorn.asyncio import serve
from hypercorn.config import Config

__all__ = ["BACKLOG", "SERVERS"]

BACKLOG: Final = 1024
# The vendor's advice: Restate keeps its connections for ever.
_WITHOUT_LIMIT: Final = 2_147_483_647
# The vendor advises no limit here either, but hypercorn's work for each frame grows with the streams of its connection:
# with 10,000 invocations waiting on one it was a quarter of all. Past the limit Restate opens another connection.
_STREAMS: Final = 256
# How many ended streams h2 remembers of a connection, to tell a late frame from a wrong one. At its own 65,536 a service
# grows by 76 to 137 bytes a call until it has them for each connection, and Restate holds one for each partition.
_ENDED_STREAMS: Final = 4 * _STREAMS
# Requests at once, of all connections: granian would let others wait unseen. Slots are ours to give.
_REQUESTS: Final = 65_536
# Its logger's level alone: its own configuration would close every handler that the project has.
_LOGGERS: Final = {"incremental": True, "handlers": {}, "loggers": {}}


class _Granian(Server):
    """The embedded server on a socket that is bound already; its own would share the address with any other process."""

    def __init__(self, application: Any, listening: socket.socket) -> None:
        self._listening = listening
        super().__init__(
            application,
            interface=Interfaces.ASGINL,
            http=HTTPModes.auto,
            http2_settings=HTTP2Settings(max_concurrent_streams=_STREAMS),
            websockets=False,
            backlog=BACKLOG,
            backpressure=_REQUESTS,
            runtime_blocking_threads=1,
            log_level=LogLevels.error,
            log_dictconfig=_LOGGERS,
        )

    def _init_shared_socket(self) -> None:
        # Its stub lacks the arguments, and says that a socket is always None.
        self._shd = SocketHolder(self._listening.fileno(), False, BACKLOG)  # type: ignore[call-arg,assignment]


async def _granian(application: Any, listening: socket.socket, stop: asyncio.Event) -> None:
    server = _Granian(application, listening)
    serving, stopping = asyncio.ensure_future(server.serve()), asyncio.ensure_future(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not stopping.cancel():
        server.stop()  # type: ignore[no-untyped-call]
    elif not serving.cancelled() and serving.exception() is None:
        raise RuntimeError("the server ended by itself")
    await serving


async def _hypercorn(application: Any, listening: socket.socket, stop: asyncio.Event) -> None:
    H2Connection.MAX_CLOSED_STREAMS = _ENDED_STREAMS
    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.errorlog = logging.getLogger("hypercorn.error")
    config.h2_max_concurrent_streams = _STREAMS
    config.keep_alive_max_requests = _WITHOUT_LIMIT
    config.keep_alive_timeout = _WITHOUT_LIMIT
    config.graceful_timeout = 1.0
    await serve(_with_lifespan(application), config, shutdown_trigger=stop.wait, mode="asgi")


def _with_lifespan(application: Any) -> Any:
    """Answer the server's start and end, which the SDK's application refuses to hear of."""

    async def serve_(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await application(scope, receive, send)
            return
        for _ in range(2):
            message = await receive()
            await send({"type": f"{message['type']}.complete"})

    return serve_


SERVERS: Final[dict[str, Callable[[Any, socket.socket, asyncio.Event], Awaitable[None]]]] = {
    "granian": _granian,
    "hypercorn": _hypercorn,
}
"""By `ENGINES["restate"]["SERVER"]`: each serves on a listening socket until an event is set, and takes no signal."""
