"""The Restate SDK by itself: one service with one handler, sent to through the ingress without a key.

The sends are written by hand, on connections that are kept: through httpx, which the SDK's own client uses, each costs
the sender several times as much, and the sender would be measured instead of the runtime.
"""

import asyncio
import http.client
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import restate

from benchmarks import channel
from benchmarks.environment import Environment

__all__ = ["app", "bulk", "single"]

IN_FLIGHT: Final = 32

service = restate.Service("BenchmarkNoop")


@service.handler("noop")
async def noop(_context: restate.Context, index: int) -> None:
    """Say that it started, and nothing else."""
    channel.record(index)


app = restate.app([service], identity_keys=[Environment.read().identity_key])

_INGRESS: Final = urlsplit(Environment.read().ingress_url)
_PATH: Final = "/restate/send/BenchmarkNoop/noop"
_HEADERS: Final = {"content-type": "application/json"}
_ACCEPTED: Final = b"HTTP/1.1 202"
_kept: Final = http.client.HTTPConnection(str(_INGRESS.hostname), _INGRESS.port)


def single(index: int) -> None:
    """Enqueue one task."""
    _kept.request("POST", _PATH, str(index), _HEADERS)
    response = _kept.getresponse()
    body = response.read()
    if response.status != http.client.ACCEPTED:
        raise RuntimeError(f"Restate answered {response.status}: {body!r}")


def bulk(indexes: range) -> None:
    """Enqueue many, `IN_FLIGHT` sends at a time."""
    asyncio.run(_bulk(iter(indexes)))


async def _bulk(remaining: Iterator[int]) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(_send(remaining))


async def _send(remaining: Iterator[int]) -> None:
    reader, writer = await asyncio.open_connection(_INGRESS.hostname, _INGRESS.port)
    for index in remaining:
        body = str(index)
        head = f"POST {_PATH} HTTP/1.1\r\nhost: ingress\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"content-length:")[2].partition(b"\r\n")[0])
        text = await reader.readexactly(length)
        if not answer.upper().startswith(_ACCEPTED):
            raise RuntimeError(f"Restate answered {answer!r}: {text!r}")
    writer.close()
    await writer.wait_closed()
