"""The project's WSGI application behind two addresses for probes, which know nothing of `ALLOWED_HOSTS`.

`/-/alive` answers as long as the process does. `/-/ready` answers 200 once the database has answered this process,
and from then on: a database that is down later must not take every pod out of service at once.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.db import Error, connection
from django.utils.module_loading import import_string

from tandem.probes.health import ALIVE, READY

__all__ = ["Probed", "application"]


class Probed:
    """A WSGI application that answers `/-/alive` and `/-/ready` itself."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._answered = False

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer a probe, or pass the request on."""
        path = environ.get("PATH_INFO")
        if path == ALIVE:
            return _answer(start_response, HTTPStatus.OK, "alive")
        if path == READY:
            reason = self._missing()
            return _answer(
                start_response, HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK, reason or "ready"
            )
        return self._application(environ, start_response)

    def _missing(self) -> str | None:
        if self._answered:
            return None
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except Error as error:
            return f"The database has not answered yet: {str(error).strip()}"
        finally:
            connection.close()
        self._answered = True
        return None


def _answer(start_response: Callable[..., object], status: HTTPStatus, text: str) -> list[bytes]:
    body = f"{text}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]


def _of_the_project() -> Callable[..., Iterable[bytes]]:
    """Load what `WSGI_APPLICATION` names, or Django's own where it names nothing."""
    default = get_wsgi_application()
    path = settings.WSGI_APPLICATION
    if not path:
        return default
    try:
        return import_string(path)  # type: ignore[no-any-return]  # the setting says what it is
    except ImportError as error:
        raise ImproperlyConfigured(f"WSGI_APPLICATION is {path!r}, which cannot be imported: {error}") from error


application = Probed(_of_the_project())
