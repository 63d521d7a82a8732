"""The task that `manage.py tandem smoke` runs on each engine.

In no `tasks` module: nobody registers it, and who runs it imports it then.
"""

from tandem import task
from tandem.configuration import ledger_configuration

__all__ = ["answer"]

_CONFIGURATION = ledger_configuration()


@task(backend=_CONFIGURATION.alias, queue_name=next(iter(_CONFIGURATION.queues), "default"), time_limit=30)
def answer() -> None:
    """End at once."""
