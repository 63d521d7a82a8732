"""The Celery app of `TASKS["default"]` for Celery's own tools, which must know how its lists are named.

`celery -A tandem.engines.celery.application flower`, `... inspect active`; needs `DJANGO_SETTINGS_MODULE`.
"""

import django

from tandem.configuration import Configuration, settings_of
from tandem.engines.celery.app import app_of, install, options_of

__all__ = ["app"]

django.setup()

_configuration = Configuration.read("default", settings_of("default"))
app = app_of(options_of(_configuration), _configuration.queues, worker=True)
install(app, _configuration)
