"""The front page, and what every page has: its links, its style sheet, its script."""

from importlib import resources

from django.conf import settings
from django.db import connection
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_GET

__all__ = ["asset", "health", "home", "links"]

ASSETS = {"style.css": "text/css", "watch.js": "text/javascript"}


def links(_request: HttpRequest) -> dict[str, str]:
    """Give every template the addresses beside the site."""
    return {"inbox_url": settings.TANDEM_INBOX_URL, "restate_ui_url": settings.TANDEM_RESTATE_UI_URL}


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Say what this is."""
    return render(request, "showcase/home.html")


@require_GET
def health(_request: HttpRequest) -> HttpResponse:
    """Answer a probe: 200 while the database answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok\n", content_type="text/plain")


@require_GET
@cache_control(max_age=60)
def asset(_request: HttpRequest, name: str) -> FileResponse:
    """Serve the style sheet or the script; two small files need no static-files machinery."""
    if name not in ASSETS:
        raise Http404(f"There is no {name}.")
    file = resources.files("showcase").joinpath("assets", name).open("rb")
    return FileResponse(file, content_type=f"{ASSETS[name]}; charset=utf-8")
