"""gunicorn's part of the log of `manage.py tandem web`."""

from gunicorn.config import Config
from gunicorn.glogging import Logger

from tandem.management.logs import write_log

__all__ = ["ProcessLogger"]


class ProcessLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Hands gunicorn's log on to the process's own, of which it would write its lines in another format and time zone."""

    def setup(self, cfg: Config) -> None:
        """Set it up before a worker is forked, which keeps it."""
        super().setup(cfg)
        write_log(cfg.loglevel)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True
