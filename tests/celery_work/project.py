"""A project's own Celery app, with Tandem added to it."""

import os

import django
from celery import Celery

from tandem.engines.celery import install

django.setup()

app = Celery("project", broker=os.environ["TANDEM_BROKER_URL"])
app.conf.update(task_ignore_result=True, worker_redirect_stdouts=False, worker_hijack_root_logger=False)
app.autodiscover_tasks(["tests.celery_work"], force=True)
install(app)
