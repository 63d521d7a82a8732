"""One small client of Restate's ingress and admin API, sync and async, over httpx's transports.

What is asked and how an answer is read is written once; the two clients only carry it. The transports are used
without `httpx.Client` around them: cookies, redirects, proxies and authentication have no place here, and a send
costs half as much. Never forwards a caller's headers: the ingress keeps headers in its journal.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx

from tandem.configuration import RestateOptions
from tandem.engines.base import State
from tandem.engines.restate.targets import HEADER, TRACKER, Target
from tandem.exceptions import BrokerUnavailable, TandemError

__all__ = ["AsyncRestateClient", "Query", "Requests", "RestateClient", "RestateRefused", "unavailable"]

_JSON: Final = {"content-type": "application/json"}
_ACCEPT: Final = {"accept": "application/json", **_JSON}
_EMPTY: Final = b"{}"
_UNFINISHED: Final = 470
_CONNECTIONS: Final = 32
_SOURCE: Final = "x-restate-error-source"


class RestateRefused(TandemError):
    """Restate is there, and refused a request; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Query[T]:
    """One request, and how its answer is read. `harmless` ones are tried again once when the connection broke."""

    method: str
    url: str
    read: Callable[[httpx.Response], T]
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float
    harmless: bool = True


def _refusal(response: httpx.Response, url: str) -> RestateRefused:
    text = response.text[:500]
    try:
        text = str(json.loads(response.content)["message"])
    except (ValueError, KeyError, TypeError):
        text = text or response.reason_phrase
    return RestateRefused(f"Restate answered {response.status_code} to {url}: {text}", status=response.status_code)


def _json(response: httpx.Response, url: str) -> Any:
    if not response.is_success:
        raise _refusal(response, url)
    return json.loads(response.content) if response.content else None


def _nothing(response: httpx.Response, url: str) -> None:
    _json(response, url)


def _state(response: httpx.Response, url: str) -> State:
    """A 404 of the ingress: never arrived, purged or forgotten. What the invocation itself answered has ended it."""
    if response.status_code == _UNFINISHED:
        return State(kind="alive")
    if response.is_success:
        return State(kind="ended")
    if response.headers.get(_SOURCE) == "invocation":
        return State(kind="ended", detail=response.text[:500])
    if response.status_code == httpx.codes.NOT_FOUND:
        return State(kind="absent")
    raise _refusal(response, url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Builds each request. Keys are percent-escaped; a send is idempotent, so all but admin writes are harmless."""

    options: RestateOptions

    def _ingress[T](
        self,
        path: str,
        read: Callable[[httpx.Response, str], T],
        *,
        content: bytes = b"",
        headers: Mapping[str, str] = _JSON,
        method: str = "POST",
        seconds: float | None = None,
    ) -> Query[T]:
        url = self.options.ingress_url.rstrip("/") + path
        return Query(
            method=method,
            url=url,
            read=lambda response: read(response, url),
            content=content,
            headers=headers,
            seconds=self.options.request_timeout if seconds is None else seconds,
        )

    def _admin[T](
        self,
        path: str,
        read: Callable[[httpx.Response, str], T],
        *,
        method: str = "GET",
        body: Any = None,
        harmless: bool = True,
    ) -> Query[T]:
        url = self.options.admin_url.rstrip("/") + path
        return Query(
            method=method,
            url=url,
            read=lambda response: read(response, url),
            content=b"" if body is None else json.dumps(body).encode(),
            headers=_ACCEPT,
            seconds=self.options.request_timeout,
            harmless=harmless,
        )

    def send(self, target: Target, key: str, *, seconds: float | None = None) -> Query[str]:
        """Send a reference; reads the invocation's id, the same for the same key."""
        headers = {**_JSON, HEADER: key}
        if not target.workflow:
            headers["idempotency-key"] = key
        return self._ingress(
            target.send_path(key),
            lambda response, url: str(_json(response, url)["invocationId"]),
            content=_EMPTY,
            headers=headers,
            seconds=seconds,
        )

    def track(self, id_: str, handler: str, value: Any = None) -> Query[None]:
        """Send to the tracker of an execution."""
        return self._ingress(
            f"/restate/send/{TRACKER}/{quote(id_, safe='')}/{handler}",
            _nothing,
            content=json.dumps(value).encode(),
        )

    def state(self, target: Target, key: str) -> Query[State]:
        """Ask what became of a reference."""
        return self._ingress("/restate/output", _state, content=json.dumps(target.lookup(key)).encode())

    def lookup(self, target: Target, key: str) -> Query[str]:
        """Compute an invocation's id; says nothing about whether there is one."""
        return self._ingress(
            "/restate/lookup",
            lambda response, url: str(_json(response, url)["invocationId"]),
            content=json.dumps(target.lookup(key)).encode(),
        )

    def health(self) -> Query[None]:
        """Ask whether the ingress takes requests."""
        return self._ingress("/restate/health", _nothing, method="GET")

    def version(self) -> Query[str]:
        """Ask the admin API which version runs."""
        return self._admin("/version", lambda response, url: str(_json(response, url)["version"]))

    def register(self, uri: str, *, force: bool) -> Query[dict[str, Any]]:
        """Register the services found at `uri`; reads the deployment with its services."""
        return self._admin("/deployments", _json, method="POST", body={"uri": uri, "force": force}, harmless=False)

    def deployments(self) -> Query[list[dict[str, Any]]]:
        """List the deployments."""
        return self._admin("/deployments", lambda response, url: list(_json(response, url)["deployments"]))

    def services(self) -> Query[list[dict[str, Any]]]:
        """List the services with their handlers and what they are set to."""
        return self._admin("/services", lambda response, url: list(_json(response, url)["services"]))

    def cancel(self, invocation: str) -> Query[bool]:
        """Cancel an invocation; False where it is over or unknown."""

        def read(response: httpx.Response, url: str) -> bool:
            if response.status_code in {httpx.codes.NOT_FOUND, httpx.codes.CONFLICT}:
                return False
            _json(response, url)
            return True

        return self._admin(f"/invocations/{quote(invocation, safe='')}/cancel", read, method="PATCH")

    def sql(self, query: str) -> Query[list[dict[str, Any]]]:
        """Query Restate's tables; columns that are null are left out of a row."""
        return self._admin(
            "/query", lambda response, url: list(_json(response, url)["rows"]), method="POST", body={"query": query}
        )


def _request(query: Query[Any], options: RestateOptions) -> httpx.Request:
    timeout = httpx.Timeout(query.seconds, connect=options.connect_timeout)
    return httpx.Request(
        query.method,
        query.url,
        content=query.content,
        headers=query.headers,
        extensions={"timeout": timeout.as_dict()},
    )


def unavailable(query: Query[Any], error: BaseException, options: RestateOptions) -> BrokerUnavailable:
    """Say where Restate did not answer, and the way out."""
    name = "ADMIN_URL" if query.url.startswith(options.admin_url) else "INGRESS_URL"
    what = str(error) or type(error).__name__
    return BrokerUnavailable(
        f"Restate does not answer at {query.url} ({what}). Start it, or correct ENGINES['restate'][{name!r}]."
    )


def _limits() -> httpx.Limits:
    return httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS, keepalive_expiry=60.0)


class RestateClient:
    """Carries requests; threads share its connections. Close it, or let the process end."""

    def __init__(self, options: RestateOptions) -> None:
        self.options = options
        self._transport = httpx.HTTPTransport(limits=_limits())

    def ask[T](self, query: Query[T]) -> T:
        """Send one request and read its answer.

        Raises `BrokerUnavailable` where Restate did not answer in time, `RestateRefused` where it did not want to.
        """
        try:
            response = self._carry(query)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            # A kept connection that the server has closed meanwhile.
            if not query.harmless:
                raise unavailable(query, error, self.options) from error
            try:
                response = self._carry(query)
            except httpx.TransportError as again:
                raise unavailable(query, again, self.options) from again
        except httpx.TransportError as error:
            raise unavailable(query, error, self.options) from error
        return query.read(response)

    def _carry(self, query: Query[Any]) -> httpx.Response:
        response = self._transport.handle_request(_request(query, self.options))
        try:
            response.read()
        finally:
            response.close()
        return response

    def close(self) -> None:
        """Close the connections; the client cannot be used after."""
        self._transport.close()


class AsyncRestateClient:
    """As `RestateClient`, awaited, for one event loop."""

    def __init__(self, options: RestateOptions) -> None:
        self.options = options
        self._transport = httpx.AsyncHTTPTransport(limits=_limits())

    async def ask[T](self, query: Query[T]) -> T:
        """As `RestateClient.ask`."""
        try:
            response = await self._carry(query)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            if not query.harmless:
                raise unavailable(query, error, self.options) from error
            try:
                response = await self._carry(query)
            except httpx.TransportError as again:
                raise unavailable(query, again, self.options) from again
        except httpx.TransportError as error:
            raise unavailable(query, error, self.options) from error
        return query.read(response)

    async def _carry(self, query: Query[Any]) -> httpx.Response:
        response = await self._transport.handle_async_request(_request(query, self.options))
        try:
            await response.aread()
        finally:
            await response.aclose()
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()
