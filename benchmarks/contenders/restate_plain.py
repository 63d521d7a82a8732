"""The Restate SDK by itself: one service, sent to through the ingress without a key.

The sends are written by hand, on connections that are kept: through httpx, which the SDK's own client uses, each costs
the sender several times as much, and the sender would be measured instead of the runtime.
"""

import asyncio
import http.client
from collections.abc import Iterator
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

import restate

from benchmarks import channel
from benchmarks.environment import Environment
from benchmarks.work import SLEEP_SECONDS, STEPS, check, double

__all__ = ["app", "bulk", "single", "stepped", "workflow"]

IN_FLIGHT: Final = 32

service = restate.Service("BenchmarkNoop")


@service.handler("noop")
async def noop(_context: restate.Context, index: int) -> None:
    """Say that it started, and nothing else."""
    channel.record(index)


@service.handler("stepped")
async def run_stepped(context: restate.Context, index: int) -> None:
    """Three steps, then say so."""
    for name in STEPS:
        await context.run_typed(name, double, number=index)
    channel.record(index)


@service.handler("child")
async def run_child(_context: restate.Context, number: int) -> int:
    """Answer a number."""
    return double(number)


@service.handler("workflow")
async def run_workflow(context: restate.Context, index: int) -> None:
    """Sleep, call two children, then say so."""
    await context.sleep(timedelta(seconds=SLEEP_SECONDS))
    calls = [context.service_call(run_child, arg=number) for number in (index, index + 1)]
    check(index, [await call for call in await restate.gather(*calls)])
    channel.record(index)


app = restate.app([service], identity_keys=[Environment.read().identity_key])

_INGRESS: Final = urlsplit(Environment.read().ingress_url)
_PATH: Final = "/restate/send/BenchmarkNoop"
_HEADERS: Final = {"content-type": "application/json"}
_ACCEPTED: Final = b"HTTP/1.1 202"
_kept: Final = http.client.HTTPConnection(str(_INGRESS.hostname), _INGRESS.port)


def single(index: int) -> None:
    """Enqueue one task."""
    _kept.request("POST", f"{_PATH}/noop", str(index), _HEADERS)
    response = _kept.getresponse()
    body = response.read()
    if response.status != http.client.ACCEPTED:
        raise RuntimeError(f"Restate answered {response.status}: {body!r}")


def bulk(indexes: range) -> None:
    """Enqueue many, `IN_FLIGHT` sends at a time."""
    asyncio.run(_bulk("noop", iter(indexes)))


def stepped(indexes: range) -> None:
    """As `bulk`, with steps."""
    asyncio.run(_bulk("stepped", iter(indexes)))


def workflow(indexes: range) -> None:
    """As `bulk`, with a sleep and children."""
    asyncio.run(_bulk("workflow", iter(indexes)))


async def _bulk(handler: str, remaining: Iterator[int]) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(_send(handler, remaining))


async def _send(handler: str, remaining: Iterator[int]) -> None:
    reader, writer = await asyncio.open_connection(_INGRESS.hostname, _INGRESS.port)
    for index in remaining:
        body = str(index)
        head = f"POST {_PATH}/{handler} HTTP/1.1\r\nhost: ingress\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"content-length:")[2].partition(b"\r\n")[0])
        text = await reader.readexactly(length)
        if not answer.upper().startswith(_ACCEPTED):
            raise RuntimeError(f"Restate answered {answer!r}: {text!r}")
    writer.close()
    await writer.wait_closed()
