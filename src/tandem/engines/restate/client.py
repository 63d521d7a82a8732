"""One small client of Restate's ingress and admin API, sync and async, over httpx's transports.

The transports are used without `httpx.Client` around them: cookies, redirects, proxies and authentication have no
place here, and a send costs half as much.
"""

from typing import Any, Final

import httpx

from tandem.configuration import RestateOptions
from tandem.engines.restate.messages import Answer, Query
from tandem.exceptions import BrokerUnavailable

__all__ = ["AsyncRestateClient", "RestateClient", "unavailable"]

_CONNECTIONS: Final = 32


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
    name = "INGRESS_URL" if query.url.startswith(options.ingress_url) else "ADMIN_URL"
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
            answer = self._carry(query)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            # A kept connection that the server has closed meanwhile.
            if not query.harmless:
                raise unavailable(query, error, self.options) from error
            try:
                answer = self._carry(query)
            except httpx.TransportError as again:
                raise unavailable(query, again, self.options) from again
        except httpx.TransportError as error:
            raise unavailable(query, error, self.options) from error
        return query.read(answer)

    def _carry(self, query: Query[Any]) -> Answer:
        response = self._transport.handle_request(_request(query, self.options))
        try:
            response.read()
        finally:
            response.close()
        return Answer(response.status_code, response.headers, response.content)

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
            answer = await self._carry(query)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            if not query.harmless:
                raise unavailable(query, error, self.options) from error
            try:
                answer = await self._carry(query)
            except httpx.TransportError as again:
                raise unavailable(query, again, self.options) from again
        except httpx.TransportError as error:
            raise unavailable(query, error, self.options) from error
        return query.read(answer)

    async def _carry(self, query: Query[Any]) -> Answer:
        response = await self._transport.handle_async_request(_request(query, self.options))
        try:
            await response.aread()
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, response.content)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()
