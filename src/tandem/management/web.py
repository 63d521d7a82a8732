"""`manage.py tandem web`: the project under gunicorn, with addresses for probes."""

import argparse
import os
import sys
from importlib.util import find_spec
from typing import Any

from django.core.management.base import CommandError
from django.tasks import task_backends

from tandem.backend import TandemBackend
from tandem.management.arguments import refuse_unsound
from tandem.management.logs import write_log

__all__ = ["add_arguments", "handle"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take where to listen and how much to run."""
    parser.add_argument("--bind", default="127.0.0.1:8000", metavar="HOST:PORT", help="default: 127.0.0.1:8000")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument("--threads", type=int, default=4, metavar="N", help="of each process (default: 4)")
    parser.add_argument("--timeout", type=int, default=30, metavar="SECONDS", help="for one request (default: 30)")
    parser.add_argument(
        "--grace", type=int, default=25, metavar="SECONDS", help="for requests in progress at SIGTERM (default: 25)"
    )
    parser.add_argument("--reload", action="store_true", help="start again when code changes, for development")


def handle(options: dict[str, Any]) -> None:
    """Become gunicorn, with this process's id; never returns."""
    for name in ("workers", "threads", "timeout"):
        if options[name] < 1:
            raise CommandError(f"--{name} is {options[name]}, but must be at least 1.")
    refuse_unsound(*(backend for backend in task_backends.all() if isinstance(backend, TandemBackend)))
    if find_spec("gunicorn") is None:
        raise CommandError("gunicorn is not installed: pip install 'django-tandem[web]'")
    arguments = {
        "bind": options["bind"],
        "workers": options["workers"],
        "threads": options["threads"],
        "worker-class": "gthread",
        "timeout": options["timeout"],
        "graceful-timeout": options["grace"],
        # Its heartbeat's file must not wait for a disk, and the root may be read-only.
        "worker-tmp-dir": "/dev/shm" if os.path.isdir("/dev/shm") else "/tmp",  # noqa: PTH112, S108  # gunicorn's own advice
        "log-level": write_log(),
        "logger-class": "tandem.management.gunicorn.ProcessLogger",
    }
    command = [sys.executable, "-m", "gunicorn", "tandem.wsgi:application", "--no-control-socket"]
    command += [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    if options["reload"]:
        command.append("--reload")
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606  # to be the container's first process, which has the signals
