"""`python -m registrar`: watch, reconcile, and answer `/healthz` and `/metrics` until SIGTERM."""

import asyncio
import logging
import os
import sys
import time
from datetime import UTC, datetime

import kopf

from registrar.cluster import Cluster
from registrar.controller import Controller
from registrar.handlers import listen, settle
from registrar.health import Heartbeat
from registrar.login import KubernetesConnections, NoCredentials
from registrar.options import InvalidOption, Options
from registrar.scheduler import Scheduler
from registrar.serving import serve
from registrar.transport import Connections

__all__ = ["main"]


async def operate(options: Options) -> None:
    """Run until told to stop; raises `NoCredentials`."""
    settings = kopf.OperatorSettings()
    settle(settings)
    kubernetes, restate = KubernetesConnections(settings), Connections("restate")
    cluster = Cluster(kubernetes.url, kubernetes.send)
    controller = Controller(
        cluster=cluster, admin=restate.send, now=lambda: datetime.now(UTC), consents=options.consents
    )
    heartbeat = Heartbeat(cluster=cluster, namespaces=options.namespaces)
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, id="login")(kopf.login_with_service_account)
    kopf.on.login(registry=registry, id="login-by-kubeconfig")(kopf.login_with_kubeconfig)
    listen(registry, Scheduler(controller.run), heartbeat)
    server = serve(options.host, options.port, lambda: heartbeat.trouble)
    beating = asyncio.create_task(heartbeat.run(), name="heartbeat")
    try:
        await kopf.operator(
            registry=registry,
            settings=settings,
            standalone=True,
            clusterwide=not options.namespaces,
            namespaces=options.namespaces,
        )
    finally:
        beating.cancel()
        server.shutdown()
        server.server_close()
        await kubernetes.close()
        await restate.close()


def log_handler() -> logging.Handler:
    """Write to stderr in the format of Tandem's processes: UTC, no colours."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    return handler


def main() -> int | str:
    """Start; answers the exit code, or what to say on stderr before exit code 1."""
    try:
        options = Options.read(os.environ)
    except InvalidOption as error:
        return str(error)
    logging.basicConfig(level=options.log_level, handlers=[log_handler()])
    # One line for each event that is seen, and each request, tells nobody anything.
    for name in ("httpx", "kopf.objects"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        asyncio.run(operate(options))
    except NoCredentials as error:
        return str(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
