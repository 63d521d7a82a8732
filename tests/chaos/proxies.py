"""A TCP proxy that can be cut: while it is, nothing gets through and nobody is told; then every connection is lost."""

import asyncio
import socket
import threading
from contextlib import suppress
from itertools import cycle
from types import TracebackType
from typing import Final, Self

__all__ = ["Proxy"]

_HOST: Final = "127.0.0.1"
_CHUNK: Final = 65_536


class Proxy:
    """Passes bytes between who connects to `port` and the servers at `targets`, on a loop in a thread of its own.

    Each connection goes to the next of them in turn.
    """

    def __init__(self, *targets: int) -> None:
        self.swallowed = 0
        self._targets = cycle(targets)
        self._listening = socket.create_server((_HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=f"proxy-{self.port}", daemon=True)
        self._open = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Let nothing through from now on; connections stay open."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def mend(self) -> None:
        """Lose the connections of before, and let new ones through."""
        self._loop.call_soon_threadsafe(self._mend)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        self._open.set()
        server = self._loop.run_until_complete(asyncio.start_server(self._connect, sock=self._listening))
        self._loop.run_forever()
        server.close()
        for writer in list(self._writers):
            self._abort(writer)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        # Cancelled tasks end at the loop's next step.
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            # Who connects during a cut waits for an answer that does not come.
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection(_HOST, next(self._targets))
            self._writers.add(far_writer)
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        except OSError:
            self._abort(writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one direction on, until either end is gone: then the other is ended too."""
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self._open.is_set():
                    writer.write(data)
                    await writer.drain()
                else:
                    self.swallowed += len(data)
        self._abort(writer)

    def _mend(self) -> None:
        for writer in list(self._writers):
            self._abort(writer)
        self._open.set()

    def _abort(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()
