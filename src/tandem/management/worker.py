"""`manage.py tandem worker`."""

import argparse
import logging
import os
import socket
import sys
from typing import Any

from django.core.management.base import CommandError

from tandem.configuration import Configuration
from tandem.exceptions import LedgerNotMigrated, LedgerUnavailable, nearest
from tandem.ledger import connection as ledger
from tandem.ledger.relaying import backlog
from tandem.management.arguments import add_health, backend_of, bodies_at_once, health_of, refuse_unsound
from tandem.management.logs import LEVELS, Format, write_log
from tandem.registry import queues_of

__all__ = ["add_arguments", "handle"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take what to consume and how many to run at once."""
    add_health(parser)
    parser.add_argument(
        "--queues",
        metavar="A,B",
        help="which to consume (default: all in TASKS' QUEUES; without any there, 'default' and those of the known tasks)",
    )
    parser.add_argument("--concurrency", type=int, metavar="N", help="bodies at once (default: one for each CPU)")
    parser.add_argument(
        "--pool",
        choices=["prefork", "threads"],
        default="prefork",
        help="prefork can kill a body that is past its time limit or will not stop; threads cannot",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=25.0,
        metavar="SECONDS",
        help="after SIGTERM, how long bodies may run on before their executions are requeued (default: 25)",
    )
    parser.add_argument("--hostname", metavar="NAME", help="Celery's node name, such as emails@%%h")
    parser.add_argument(
        "--loglevel", choices=LEVELS, help="default: TANDEM_LOG_LEVEL, else info; debug tells of each task"
    )
    parser.add_argument("--events", action="store_true", help="send task events from the start, for Flower")


def handle(options: dict[str, Any]) -> None:
    """Run a Celery worker until SIGTERM: bodies end or are requeued, prefetched messages go back."""
    backend = backend_of()
    refuse_unsound(backend)
    configuration = backend.configuration
    queues = _queues(options.get("queues"), configuration)
    concurrency = bodies_at_once(options)
    _ask_ledger()
    try:
        import celery.apps.worker  # noqa: PLC0415  # an extra of the distribution
        from celery.concurrency.thread import TaskPool as ThreadPool  # noqa: PLC0415  # as above
        from celery.signals import after_setup_logger, after_setup_task_logger, setup_logging  # noqa: PLC0415  # as above

        from tandem.engines.celery.app import app_of, install, options_of  # noqa: PLC0415  # as above
        from tandem.engines.celery.pool import PreforkPool  # noqa: PLC0415  # as above
        from tandem.engines.celery.worker import prepare  # noqa: PLC0415  # as above
    except ImportError as error:
        raise CommandError(
            f"The Celery engine is not installed ({error}): pip install 'django-tandem[celery]'"
        ) from None
    level = write_log(options["loglevel"])
    celery.apps.worker.safe_say = _say

    def set_up(*, loglevel: int, logfile: Any, format: str, **_: Any) -> None:  # noqa: A002  # Celery's name
        # Once more: Celery has Django set up again, which forgets the levels of its loggers.
        write_log(level)
        # What a project's app adds by these, which Celery sends only where nobody sets the log up.
        given: dict[str, Any] = {"loglevel": loglevel, "logfile": logfile, "format": format, "colorize": False}
        after_setup_logger.send(sender=None, logger=logging.getLogger(), **given)
        after_setup_task_logger.send(sender=None, logger=logging.getLogger("celery.task"), **given)

    # Whoever listens sets the log up: Celery would in a format of its own, with colours, children's too.
    setup_logging.connect(set_up, weak=False, dispatch_uid="tandem.log")
    app = app_of(options_of(configuration), configuration.queues or tuple(queues), worker=True)
    install(app, configuration)
    prepare(app, grace=options["grace"], health=health_of(options))
    worker = app.Worker(
        hostname=_node_name(options.get("hostname")),
        pool_cls=PreforkPool if options["pool"] == "prefork" else ThreadPool,
        concurrency=concurrency,
        queues=queues,
        loglevel=level.upper(),
        quiet=True,
        task_events=options["events"],
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    sys.exit(worker.exitcode)


def _say(text: str, _: object = None) -> None:
    """Write what Celery's signal handlers have to say, which take no lock and so log nothing, as if they did."""
    logger, words = logging.getLogger("celery.worker"), " ".join(text.split())
    if logger.isEnabledFor(logging.INFO):
        record = logger.makeRecord(logger.name, logging.INFO, "", 0, words, (), None)
        os.write(sys.stderr.fileno(), f"{Format().format(record)}\n".encode())


def _queues(text: str | None, configuration: Configuration) -> list[str]:
    if text is None:
        return list(queues_of(configuration.queues))
    queues = [name.strip() for name in text.split(",") if name.strip()]
    for name in queues:
        if configuration.queues and name not in configuration.queues:
            raise CommandError(
                f"--queues names {name!r}, which does not exist{nearest(name, configuration.queues)} Queues:"
                f" {', '.join(configuration.queues)}."
            )
    if not queues:
        raise CommandError(f"--queues is empty. Queues: {', '.join(configuration.queues)}.")
    return queues


def _node_name(name: str | None) -> str:
    """A name of its own for each worker of a host: two of one name answer for each other in Flower."""
    from celery.utils.nodenames import default_nodename, host_format  # noqa: PLC0415  # as in handle

    return str(host_format(default_nodename(name or f"tandem-{os.getpid()}@{socket.gethostname()}")))


def _ask_ledger() -> None:
    """Fail at once, in plain words, where no task could be claimed."""
    try:
        ledger.execute(backlog.queues())
    except LedgerNotMigrated:
        raise
    except LedgerUnavailable as error:
        raise CommandError(f"The ledger's database does not answer: {error}") from error
    finally:
        ledger.close()
