"""One request and its answer, for both APIs: JSON over httpx, counted."""

import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from registrar import metrics

__all__ = ["Answer", "Connections", "Request", "Send", "Unreachable"]

_SECONDS: Final = httpx.Timeout(20.0, connect=5.0)


class Unreachable(Exception):
    """A server did not answer, or its answer was cut off; the message says where and why."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to ask. `url` is whole; `body` is sent as JSON."""

    method: str
    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: JSON where it was JSON, otherwise the text."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004  # what HTTP calls success


type Send = Callable[[Request], Awaitable[Answer]]


class Connections:
    """Sends requests to one API, named for the count in the metrics. Use within one event loop, and close it."""

    def __init__(self, api: str, *, verify: ssl.SSLContext | bool = True) -> None:
        self._calls = metrics.CALLS.labels(api)
        self._client = httpx.AsyncClient(timeout=_SECONDS, verify=verify, trust_env=False, follow_redirects=False)

    async def send(self, request: Request) -> Answer:
        """Send and read; raises `Unreachable`."""
        self._calls.inc()
        headers = {"Accept": "application/json", "Content-Type": "application/json", **request.headers}
        content = None if request.body is None else json.dumps(request.body)
        try:
            response = await self._client.request(
                request.method, request.url, params=dict(request.query), headers=headers, content=content
            )
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise Unreachable(f"{request.url} does not answer: {str(error) or type(error).__name__}") from error
        try:
            body = response.json()
        except ValueError:
            body = response.text
        return Answer(status=response.status_code, body=body)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
