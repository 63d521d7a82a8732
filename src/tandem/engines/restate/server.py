"""Serving the services: a server in this process, registration, and a graceful end.

SIGTERM and SIGINT: nothing more is taken, sleepers are requeued, bodies get `grace` seconds to end, and what does
not end is requeued without counting as lost.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from restate.server import install_shutdown_hook

from tandem.configuration import Configuration
from tandem.engines.restate.client import RestateClient
from tandem.engines.restate.executor import ServiceExecutor
from tandem.engines.restate.identity import read_identity_keys, signed
from tandem.engines.restate.messages import Requests, RestateRefused
from tandem.engines.restate.service import build_services, describe
from tandem.engines.restate.serving import BACKLOG, SERVERS
from tandem.engines.restate.share import Share
from tandem.exceptions import BrokerUnavailable, ConfigurationError
from tandem.probes.health import Health, address_of
from tandem.probes.loops import Loop

__all__ = ["run_service"]

logger = logging.getLogger("tandem.restate")

_REGISTER_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 0.25
_BEAT_SECONDS: Final = 5.0
_THREAD_SECONDS: Final = 0.5
_SERVER_SECONDS: Final = 5.0


def run_service(
    configuration: Configuration,
    *,
    bind: str,
    share: Share,
    concurrency: int | None = None,
    register: bool = False,
    grace: float = 25.0,
    health: Health | None = None,
) -> int:
    """Serve a share of the services until a signal, and answer the exit code: 1 where stuck threads made the process end.

    `register` tells Restate of the services at `service_url`, replacing what it knew of that URL: for development.
    Raises `ConfigurationError` where the services cannot be built, the address is taken, or Restate refuses them.
    """
    if configuration.restate is None:
        raise ConfigurationError(
            f"TASKS[{configuration.alias!r}]['OPTIONS']['ENGINES'] has no 'restate'; add it with an INGRESS_URL."
        )
    return asyncio.run(
        _serve(
            configuration,
            bind=bind,
            share=share,
            concurrency=concurrency,
            register=register,
            grace=grace,
            health=health or Health(),
        )
    )


def _leave(code: int) -> NoReturn:
    """End the process at once: what did not end was requeued, its threads would be joined, its tasks awaited."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _serve(
    configuration: Configuration,
    *,
    bind: str,
    share: Share,
    concurrency: int | None,
    register: bool,
    grace: float,
    health: Health,
) -> int:
    loop = asyncio.get_running_loop()
    listening = _listen(bind)
    process = ServiceExecutor(configuration, concurrency=concurrency, watch=health)
    services = build_services(process, share)
    application = signed(services, read_identity_keys(process.options.identity_keys))
    await process.start()
    stop = asyncio.Event()
    _on_signals(loop, process.draining.set)
    beating = asyncio.create_task(_beating(health, configuration.lease_seconds).arun())
    serving = asyncio.ensure_future(SERVERS[process.options.server](application, listening, stop))
    try:
        logger.info("Serving %s on %s, %s at once.", ", ".join(describe(services)), bind, process.concurrency)
        if register:
            logger.info("%s", await _register(configuration))
        await asyncio.to_thread(health.begin)
        draining = asyncio.ensure_future(process.draining.wait())
        await asyncio.wait((draining, serving), return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
    finally:
        await process.drain(grace)
        # Not before: a grace time may be longer than a silent loop counts as alive.
        beating.cancel()
        if process.invocations and sys.exc_info()[0] is None:
            _leave(process.exit_code)
        stop.set()
        await asyncio.wait((serving,), timeout=_SERVER_SECONDS)
    if serving.done() and (error := serving.exception()) is not None:
        raise ConfigurationError(f"The service at {bind} failed: {error}.") from error
    if not serving.done() or process.threads_left(_THREAD_SECONDS):
        _leave(process.exit_code)
    return process.exit_code


def _beating(health: Health, patience: float) -> Loop:
    """Say that the event loop turns."""
    return Loop(name="The event loop", round=lambda: _BEAT_SECONDS, patience=patience, watch=health)


def _on_signals(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
    """Have SIGTERM and SIGINT call `end`, and nothing else.

    At its first request the SDK takes SIGTERM too, and would close every stream at once; where Restate still sends
    on one of them, hypercorn 0.18 loses the whole connection (its issue 329). The SDK shares one dispatcher for each
    loop and signal: once that is there, ours can take its place.
    """
    install_shutdown_hook(loop, end, signal.SIGTERM)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)


def _listen(bind: str) -> socket.socket:
    """Take the address at once, before anything is registered; raises `ConfigurationError` where that cannot be."""
    try:
        family, host, port = address_of(bind)
        both = family is socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"Cannot serve on {bind!r}: {error}. Give --bind another HOST:PORT, and SERVICE_URL with it."
        ) from error


async def _register(configuration: Configuration) -> str:
    """Register, while Restate may still be starting; answers what it then knows."""
    options = configuration.restate
    if options is None:
        raise ConfigurationError("This backend has no ENGINES['restate'].")
    client, requests = RestateClient(options), Requests(options=options)
    try:
        deployment = await _until(
            lambda: asyncio.to_thread(client.ask, requests.register(options.service_url, force=True)),
            seconds=_REGISTER_SECONDS,
            retry=(BrokerUnavailable, RestateRefused),
            what=f"registering {options.service_url} with {options.admin_url}",
        )
    finally:
        client.close()
    names = ", ".join(
        f"{service['name']}/{{{', '.join(handler['name'] for handler in service['handlers'])}}}"
        for service in deployment["services"]
    )
    return f"Registered {options.service_url} as {deployment['id']}: {names}."


async def _until[T](
    call: Callable[[], Awaitable[T]],
    *,
    seconds: float,
    retry: type[Exception] | tuple[type[Exception], ...],
    what: str,
) -> T:
    deadline = asyncio.get_running_loop().time() + seconds
    said = False
    while True:
        try:
            return await call()
        except retry as error:
            permanent = isinstance(error, RestateRefused) and error.status in {400, 409, 422}
            if permanent or asyncio.get_running_loop().time() > deadline:
                raise ConfigurationError(f"Gave up {what}: {error}") from error
            if not said:
                logger.warning("Waiting for %s: %s", what, error)
                said = True
        await asyncio.sleep(_AGAIN_SECONDS)
