"""What a Celery app's settings say of its broker, read by kombu alone.

kombu reads them in the worker. Producers and the relay speak with the client itself, since kombu would cost a third
of their speed, but with the parameters that kombu read: a URL cannot mean one server here and another there.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import redis
from kombu.connection import Connection
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.retry import Retry

from tandem.exceptions import ConfigurationError

__all__ = ["SCHEMES", "Broker", "public_url"]

SCHEMES: Final = ("redis", "rediss", "redis+socket", "sentinel")

_SHOWN: Final = re.compile(r"(\[[0-9A-Fa-f:.%]*\]|[\w.-]*)(:\d+)?(/[^?#]*)?([?#].*)?", re.ASCII | re.DOTALL)
_NEXT_URL: Final = re.compile(r";(?=[\w+.-]+://)", re.ASCII)
_ENCODE: Final = "percent-encode what is special in its user and password, as urllib.parse.quote(..., safe='') does"
_CERTIFICATES: Final = ("CERT_REQUIRED", "CERT_OPTIONAL", "CERT_NONE", "required", "optional", "none")


def public_url(text: str) -> str:
    """One URL or several as they may be shown: without user, password and query; what is no clear URL not at all."""
    return ";".join(_public(url) for url in _NEXT_URL.split(text))


def _public(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "***"
    credentials, _, place = rest.rpartition("@")
    shown = None if set(credentials) & set("?#") else _SHOWN.fullmatch(place)
    return f"{scheme}://***" if shown is None else f"{scheme}://{shown[1]}{shown[2] or ''}{shown[3] or ''}"


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Makes connections to the server of an app's `broker_url`, or to the primary that its Sentinels then name.

    `connect_timeout` and `socket_timeout` are seconds, for the server and for each Sentinel that is asked.
    """

    public_url: str
    _pool: redis.ConnectionPool = field(repr=False)
    _kwargs: dict[str, Any] = field(repr=False)

    @classmethod
    def of(
        cls, app: Any, urls: str | Sequence[str] | None, *, setting: str, connect_timeout: float, socket_timeout: float
    ) -> "Broker":
        """Read what `app` writes to, which its settings `urls` name, without touching a server.

        Raises `ConfigurationError`, which names `setting`, what of its value may be shown, and the way out, for what
        a worker would refuse, or would read otherwise than this.
        """
        text = urls if isinstance(urls, str) else ";".join(urls or ())
        shown = public_url(text)

        def refuse(why: str) -> NoReturn:
            # Of whatever error led here nothing is shown: it may have quoted a part of a password.
            raise ConfigurationError(f"{setting} is {shown!r}, {why}.") from None

        parts = [_checked(url, refuse) for url in text.split(";")]
        if len(parts) > 1 and any(part.scheme != "sentinel" for part in parts):
            refuse(
                "several brokers: a producer that turned to another of them would not meet the worker that did not."
                " Name one address, which may move with the primary, or Sentinels"
            )
        transport = app.conf.broker_transport_options or {}
        if parts[0].scheme == "sentinel" and not transport.get("master_name"):
            refuse("Sentinels: name their primary by 'master_name' in the app's broker_transport_options")
        timeouts = {"socket_connect_timeout": connect_timeout, "socket_timeout": socket_timeout}
        once = {"retry": Retry(NoBackoff(), 0)}
        try:
            sentinels = {**(transport.get("sentinel_kwargs") or {}), **timeouts, **once}
            with app.connection_for_write(transport_options={"sentinel_kwargs": sentinels}) as connection:
                pools = _pools(connection)
                encrypted = bool(connection.ssl)
            with app.connection_for_read() as reading:
                pools_read = _pools(reading)
            pool = pools[0]
            # A pool's own notifications would move its connections, and change their timeouts.
            own = {name for name in pool.connection_kwargs if name.startswith(("maint_", "orig_"))}
            kwargs = {name: value for name, value in pool.connection_kwargs.items() if name not in own}
            kwargs |= {**timeouts, **once, "protocol": 2, "health_check_interval": 0, "retry_on_timeout": False}
            pool.connection_class(**kwargs)
        except TypeError as error:
            # It speaks of names, not of values.
            raise ConfigurationError(f"{setting} is {shown!r}, which a worker could not connect to: {error}.") from None
        except Exception as error:  # noqa: BLE001  # kombu and the client raise anything, such as KeyError
            refuse(f"which a worker could not connect to ({type(error).__name__}). See Celery's *Using Redis*")
        if encrypted and not issubclass(pool.connection_class, redis.SSLConnection):
            refuse(
                "and broker_use_ssl is true, which kombu's Redis transport would pass over: it would send in plain"
                " text. Give a dict, such as {'ssl_cert_reqs': ssl.CERT_REQUIRED}"
            )
        if len({_identity(other) for other in pools}) > 1:
            refuse(
                "URLs that differ: after a failover a worker has user, password and database from the one that it"
                " then uses. Give them the same"
            )
        if _place(pools_read[0]) != _place(pool):
            refuse("but broker_read_url names another server or database: what is sent would not be read")
        return cls(public_url=shown, _pool=pool, _kwargs=kwargs)

    def connection(self) -> AbstractConnection:
        """A connection that is yet to be opened; one by Sentinel asks for the primary whenever it is."""
        made: AbstractConnection = self._pool.connection_class(**self._kwargs)
        return made


def _checked(url: str, refuse: Callable[[str], NoReturn]) -> SplitResult:
    """Refuse a URL that kombu would read otherwise than it was meant, or only once it connects."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        refuse("which is no URL. Write it as redis://HOST:PORT/DATABASE")
    if scheme not in SCHEMES:
        refuse(f"a {scheme!r} URL; Tandem's Celery engine needs Redis or Valkey: {', '.join(SCHEMES)}")
    try:
        # As kombu does: what stands behind the scheme is read as if it were http's.
        parts = urlsplit(f"http://{rest}")
        _ = parts.port
    except ValueError:
        refuse(f"whose host or port cannot be read: {_ENCODE}")
    if "#" in url or "@" in parts.path + parts.query:
        refuse(f"which could not be read as it is meant: {_ENCODE}")
    query = parse_qs(parts.query)
    database = query.get("virtual_host", ["0"])[0] if scheme == "redis+socket" else unquote(parts.path).strip("/")
    if database and not database.isdecimal():
        refuse("whose database is no number: write it as /0, or behind a socket's path as ?virtual_host=0")
    if query.get("ssl_cert_reqs", ["none"])[0] not in _CERTIFICATES:
        refuse(f"whose ssl_cert_reqs is none of {', '.join(_CERTIFICATES)}")
    return parts._replace(scheme=scheme)


class _Unasked:
    """What a channel that only reads its parameters has for a client: kombu's asks the server as it is made."""

    def ping(self) -> None:
        """Say nothing."""


def _pools(connection: Connection) -> list[redis.ConnectionPool]:
    """The pool that kombu would make for each URL in turn, without touching a server."""
    pools = []
    for url in [None, *connection.alt[1:]]:
        if url is not None:
            connection.switch(url)
        transport = connection.transport
        channel = type("Channel", (transport.Channel,), {"client": _Unasked()})(transport)
        pools.append(channel._get_pool())  # noqa: SLF001  # kombu shows its parameters in no other way
    return pools


def _identity(pool: redis.ConnectionPool) -> tuple[Any, ...]:
    kwargs = pool.connection_kwargs
    return (pool.connection_class.__name__, *(kwargs.get(name) for name in ("username", "password", "db")))


def _place(pool: redis.ConnectionPool) -> tuple[Any, ...]:
    kwargs = pool.connection_kwargs
    return (getattr(pool, "service_name", None), *(kwargs.get(name) for name in ("host", "port", "path", "db")))
