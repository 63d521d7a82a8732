"""The Celery app of the backend with a ledger for Celery's own tools, which must know how its lists are named.

`celery -A tandem.engines.celery.application flower`, `... inspect active`; needs `DJANGO_SETTINGS_MODULE`.
"""

import django

from tandem.configuration import ledger_configuration
from tandem.engines.celery.app import app_of, install, options_of
from tandem.registry import queues_of

__all__ = ["app"]

django.setup()

_configuration = ledger_configuration()
app = app_of(options_of(_configuration), queues_of(_configuration.queues), worker=True)
install(app, _configuration)
