"""The inbox's process."""

import argparse
import asyncio
import logging
import signal
import sqlite3
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP

from tandem.embedded.inbox import page
from tandem.embedded.inbox.server import LARGEST_MESSAGE_BYTES, Inbox
from tandem.embedded.inbox.store import Store

__all__ = ["main", "serve"]

LAST_PORT = 65535

logger = logging.getLogger("tandem.embedded.inbox")


async def serve(*, host: str, port: int, http_port: int, store: Store) -> None:
    """Run until SIGTERM or SIGINT. Raises ``OSError`` when a port is taken."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    inbox = Inbox(store=store)

    def session() -> SMTP:
        return SMTP(inbox, hostname="inbox", ident="Tandem", data_size_limit=LARGEST_MESSAGE_BYTES, loop=loop)

    with page.serving(host=host, port=http_port, store=store):
        server = await loop.create_server(session, host, port)
        logger.info("SMTP on %s:%d, page on http://%s:%d/", host, port, host, http_port)
        await stop.wait()
        server.close()


def port_number(text: str) -> int:
    """Parse a port for argparse, which shows the message of an ``ArgumentTypeError``."""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: choose a whole number from 1 to {LAST_PORT}")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and serve; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tandem.embedded.inbox", description="An SMTP server for tests.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port_number, default=1025, help="SMTP port (default: %(default)s)")
    parser.add_argument("--http-port", type=port_number, default=1080, help="port of the page (default: %(default)s)")
    parser.add_argument("--directory", type=Path, required=True, help="where messages are kept; made when missing")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    try:
        options.directory.mkdir(parents=True, exist_ok=True)
        store = Store(path=options.directory / "inbox.sqlite3")
        asyncio.run(serve(host=options.host, port=options.port, http_port=options.http_port, store=store))
    except (OSError, sqlite3.Error) as error:
        logger.error("cannot start: %s. Name others with --port, --http-port, --directory.", error)  # noqa: TRY400 - no traceback
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
