"""`manage.py tandem service`: the process that runs tasks for Restate."""

import sys
from argparse import ArgumentParser
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from tandem.configuration import RestateOptions
from tandem.engines.restate.server import run_service
from tandem.management.arguments import add_health, backend_of, bodies_at_once, health_of, refuse_unsound
from tandem.management.logs import write_log
from tandem.management.share import add_share, share_of

__all__ = ["add_arguments", "handle"]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_health(parser)
    parser.add_argument("--register", action="store_true", help="Tell Restate of the services (for development).")
    parser.add_argument(
        "--bind", metavar="HOST:PORT", help="Where to listen; default: the port of SERVICE_URL, on 127.0.0.1."
    )
    parser.add_argument(
        "--concurrency", type=int, metavar="N", help="Bodies at once; default: ENGINES['restate']['CONCURRENCY']."
    )
    add_share(parser)
    parser.add_argument("--service-url", metavar="URL", help="Where Restate finds this service; default: SERVICE_URL.")
    parser.add_argument(
        "--grace", type=float, default=25.0, metavar="SECONDS", help="For running bodies at the end (25)."
    )


def handle(options: dict[str, Any]) -> None:
    """Serve until a signal. Exits with 1 where threads were stuck, so that a supervisor starts it again."""
    backend = backend_of()
    refuse_unsound(backend)
    configuration = backend.configuration
    restate = configuration.restate or RestateOptions()
    if options["service_url"]:
        restate = replace(restate, service_url=options["service_url"])
        configuration = replace(configuration, restate=restate)
    write_log()
    url = urlsplit(restate.service_url)
    code = run_service(
        configuration,
        bind=options["bind"] or f"{'[::1]' if url.hostname == '::1' else '127.0.0.1'}:{url.port or 9080}",
        share=share_of(options),
        concurrency=bodies_at_once(options),
        register=options["register"],
        grace=options["grace"],
        health=health_of(options),
    )
    if code:
        sys.exit(code)
