"""The project's own Celery app, as a team has it before it knows of Tandem; the worker runs both kinds of task."""

from celery import Celery
from django.conf import settings

__all__ = ["app"]

app = Celery("showcase", broker=settings.BROKER_URL)
app.conf.update(
    task_ignore_result=True,
    task_default_queue="default",
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
)
app.autodiscover_tasks(["showcase.files"], related_name="classic")
