"""Tasks on Celery over Redis: the broker's lists carry ids, the ledger has the rest.

`install` adds Tandem to a Celery app of your own; without one, Tandem makes its own.
"""

from typing import Any

__all__ = ["install"]


def install(app: Any) -> None:
    """Add the known tasks and Tandem's worker parts to the Celery app `app`, and leave its own alone.

    Name the app in `TASKS["default"]["OPTIONS"]["ENGINES"]["celery"]["APP"]`, so that enqueueing uses its broker too.
    """
    from tandem.configuration import ledger_configuration  # noqa: PLC0415  # a web process needs no Celery yet
    from tandem.engines.celery.app import install as install_into  # noqa: PLC0415  # as above

    install_into(app, ledger_configuration())
