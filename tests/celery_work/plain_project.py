"""A project's own Celery app, that never heard of Tandem, in one broker with it."""

import os

from celery import Celery

app = Celery("project", broker=os.environ["TANDEM_BROKER_URL"])
app.conf.update(task_ignore_result=True, worker_redirect_stdouts=False, broker_connection_retry_on_startup=True)
app.autodiscover_tasks(["tests.celery_work"])
