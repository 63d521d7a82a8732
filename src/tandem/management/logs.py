"""The log of every process: one format, times in UTC, no colours, at the level of `TANDEM_LOG_LEVEL`."""

import logging
import os
import time
from typing import Final

from django.conf import settings
from django.core.management.base import CommandError

from tandem.exceptions import nearest

__all__ = ["LEVELS", "Format", "write_log"]

LEVELS: Final = ("debug", "info", "warning", "error", "critical")

# A line or more for each task or request, which costs half of running a plain one: below debug, what went wrong alone.
_FREQUENT: Final = ("celery.app.trace", "celery.worker.strategy", "django.tasks", "httpx", "hypercorn.error")
# Each would write every header, credentials too.
_HEADERS: Final = ("hpack", "httpcore")


class Format(logging.Formatter):
    """`2026-11-23T09:41:07.123Z LEVEL logger: message`, whatever `TIME_ZONE` and the machine say."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime


def write_log(level: str | None = None) -> str:
    """Write what this process logs to stderr, unless the project's LOGGING does so; answers the level.

    That is `level`, else `TANDEM_LOG_LEVEL`, else info. Raises `CommandError` for a level that there is not.
    """
    level = (level or os.environ.get("TANDEM_LOG_LEVEL") or "info").lower()
    if level not in LEVELS:
        raise CommandError(f"TANDEM_LOG_LEVEL is {level!r}{nearest(level, LEVELS)} Levels: {', '.join(LEVELS)}.")
    number = logging.getLevelNamesMapping()[level.upper()]
    for names, most in ((_FREQUENT, "debug"), (_HEADERS, "")):
        for logger in map(logging.getLogger, names):
            if level != most and logger.level == logging.NOTSET:
                logger.setLevel(max(number, logging.WARNING))
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(Format())
        handler.addFilter(_not_on_djangos_console)
        root.addHandler(handler)
        root.setLevel(number)
        logging.captureWarnings(capture=True)
    return level


def _not_on_djangos_console(record: logging.LogRecord) -> bool:
    """Leave to Django's own console what it writes itself: its loggers' lines while DEBUG is on."""
    own = record.name.partition(".")[0] == "django" and record.levelno >= logging.INFO
    # gunicorn's parent loads no settings: those of its children are read again when code changes.
    return not (own and settings.configured and settings.DEBUG and not settings.LOGGING)
