"""A site with one page, whose requests enqueue inside a transaction and take their time to commit."""

import time
from typing import Final

from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from tests.chaos import log
from tests.chaos.tasks import KINDS

__all__ = ["REQUEST_SECONDS", "application", "urlpatterns"]

REQUEST_SECONDS: Final = 0.05
"""Between the enqueue and its commit."""


def _enqueue(request: HttpRequest) -> HttpResponse:
    tasks = {task.name: task for task in KINDS}
    task = tasks[request.GET["task"]].using(engine=request.GET["engine"], owner=request.GET["owner"])
    with transaction.atomic():
        id_ = str(task.enqueue(int(request.GET["number"])).id)
        log.write("request-start", id_, 0)
        time.sleep(REQUEST_SECONDS)
    log.write("request-end", id_, 0)
    return HttpResponse(id_)


urlpatterns: list[URLPattern] = [path("enqueue", _enqueue)]


def application() -> WSGIHandler:
    """The site, for gunicorn."""
    return get_wsgi_application()
