"""What `ENGINES` may say of each engine, read into typed values; a misspelt key is an error that suggests the right one."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from tandem.exceptions import ConfigurationError, nearest

__all__ = [
    "BUILT_IN_ENGINES",
    "IN_MEMORY",
    "CeleryOptions",
    "OtherEngine",
    "RestateOptions",
    "read_celery",
    "read_options",
    "read_other",
    "read_restate",
]

BUILT_IN_ENGINES: Final = ("celery", "restate", "stub", "immediate")
IN_MEMORY: Final = frozenset({"stub", "immediate"})

# No dot: with two prefixes, the names of one never begin with the other and a dot.
_PREFIX: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9_-]*)?")

# In rules and in the ledger's columns.
_ENGINE_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,19}")

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def read_options[T](kind: type[T], options: Any, where: str) -> T:
    """Build the dataclass `kind` from upper-case `options`, refusing unknown keys and wrong types by name."""
    if not isinstance(options, Mapping):
        # A text may be a URL with its password.
        shown = "a text" if isinstance(options, str) else repr(options)
        raise ConfigurationError(f"{where} is {shown}, but must be a dictionary.")
    known = {item.name.upper(): item for item in fields(kind)}  # type: ignore[arg-type]  # callers pass dataclasses
    values: dict[str, Any] = {}
    for key, value in options.items():
        if key not in known:
            raise ConfigurationError(
                f"{where} has an unknown key {key!r}{nearest(key, list(known))} Known keys: {', '.join(known)}."
            )
        default = known[key].default
        if isinstance(default, bool | int | float | str | Mapping) and not _fits(value, default):
            # What may hold a password is not shown.
            shown = repr(value) if known[key].repr else f"a {type(value).__name__}"
            example: object = {} if isinstance(default, Mapping) else default
            raise ConfigurationError(
                f"{where}[{key!r}] is {shown}, but must be a {type(example).__name__} such as {example!r}."
            )
        if isinstance(default, int | float) and not isinstance(default, bool):
            _require_in_range(value, key, where)
        values[known[key].name] = value
    return kind(**values)


# Of these 0 has a meaning: at once, never kept, none.
_FROM_ZERO: Final = frozenset(
    {"OVERRIDE_SECONDS", "RETENTION_DAYS", "IDEMPOTENCY_DAYS", "BREAKER_SECONDS", "GRACE_SECONDS", "STUCK_THREADS"}
)


def _require_in_range(number: float, key: str, where: str) -> None:
    """Refuse what is below its least, endless, or no number at all (NaN is below and above nothing)."""
    if not (0 <= number < float("inf") if key in _FROM_ZERO else 0 < number < float("inf")):
        least = "from 0" if key in _FROM_ZERO else "above 0"
        raise ConfigurationError(f"{where}[{key!r}] is {number!r}, but must be {least}.")


def _require_url(text: str, where: str) -> None:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ConfigurationError(f"{where} is {text!r}, but must be a URL such as 'http://127.0.0.1:8080'.")


def _fits(value: object, default: object) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, Mapping if isinstance(default, Mapping) else type(default))


@dataclass(frozen=True, kw_only=True)
class CeleryOptions:
    """How to reach the broker.

    `broker_url`, `broker_transport_options` and `broker_use_ssl` are Celery's settings of these names; a list of URLs
    may be given. Where they say nothing of a server's certificate, a `rediss` URL demands one that is valid.

    `app` is the dotted path of a Celery app of the project's own, such as `"proj.celery.app"`: its broker, key prefix
    and transport options are then used, and these four settings are not.

    `connect_timeout`, `socket_timeout` and `breaker_seconds` are seconds: a broker that is down costs one caller at
    most the first two, then none until the third is over. A body that is past its `time_limit`, or was cancelled,
    has `grace_seconds` to end by itself before its prefork child is killed.
    """

    broker_url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    broker_transport_options: Mapping[str, Any] = field(default=_NOTHING, hash=False, repr=False)
    broker_use_ssl: Mapping[str, Any] = field(default=_NOTHING, hash=False, repr=False)
    key_prefix: str = ""
    app: str = ""
    connect_timeout: float = 0.4
    socket_timeout: float = 0.5
    breaker_seconds: float = 2.0
    grace_seconds: float = 10.0


@dataclass(frozen=True, kw_only=True)
class RestateOptions:
    """Where Restate is, where it finds this project's services, and how requests between them are signed.

    `prefix` sets a release's names apart from another's in a shared Restate: `shop` makes `Emails` `shop.Emails`.
    `server` serves a service process: `granian`, or `hypercorn`, which is slower and all Python. Timeouts are seconds.
    `concurrency` is the number of bodies one service process runs at once;
    `longest_step` bounds one step: Restate aborts an attempt that is silent for longer. With `identity_keys`
    (`publickeyv1_...`, or PEM) requests that none of them signed are refused.
    """

    ingress_url: str = "http://127.0.0.1:8080"
    admin_url: str = "http://127.0.0.1:9070"
    service_url: str = "http://127.0.0.1:9080"
    prefix: str = ""
    identity_keys: tuple[str, ...] | list[str] = ()
    server: str = "granian"
    concurrency: int = 16
    connect_timeout: float = 0.4
    request_timeout: float = 10.0
    breaker_seconds: float = 2.0
    longest_step: float = 3600.0
    stuck_threads: int = 4


SERVERS: Final = ("granian", "hypercorn")


def read_celery(celery: Any, spot: str) -> CeleryOptions:
    """Read the Celery engine's options; a list of URLs is one text, as Celery takes it too."""
    urls = celery.get("BROKER_URL") if isinstance(celery, Mapping) else None
    if isinstance(urls, list | tuple):
        celery = {**celery, "BROKER_URL": ";".join(map(str, urls))}
    return read_options(CeleryOptions, celery, spot)


def read_restate(options: Any, spot: str) -> RestateOptions:
    """Read the Restate engine's options."""
    restate = read_options(RestateOptions, options, spot)
    keys: object = restate.identity_keys  # What a project wrote, whatever the annotation says.
    if isinstance(keys, str) or not isinstance(keys, Collection):
        shown = "a text" if isinstance(keys, str) else repr(keys)
        raise ConfigurationError(f"{spot}['IDENTITY_KEYS'] is {shown}, but must be a list of keys.")
    if not _PREFIX.fullmatch(restate.prefix):
        raise ConfigurationError(
            f"{spot}['PREFIX'] is {restate.prefix!r}, but must be a letter, then letters, digits, '_' or '-': a"
            " '.' follows it in the names of services."
        )
    if restate.server not in SERVERS:
        raise ConfigurationError(f"{spot}['SERVER'] is {restate.server!r}, but must be one of {', '.join(SERVERS)}.")
    _require_url(restate.ingress_url, f"{spot}['INGRESS_URL']")
    _require_url(restate.service_url, f"{spot}['SERVICE_URL']")
    # Web has none: it never talks to the admin API.
    _require_url(restate.admin_url or restate.ingress_url, f"{spot}['ADMIN_URL']")
    return restate


@dataclass(frozen=True, kw_only=True)
class OtherEngine:
    """An engine of somebody else's: the dotted path of its class, and what its `Options` are read from."""

    path: str
    options: Mapping[str, Any]


def read_other(name: object, options: Any, spot: str) -> OtherEngine:
    """Read what is said of an engine that is not built in."""
    if not isinstance(options, Mapping) or "ENGINE" not in options:
        raise ConfigurationError(
            f"{spot} names the engine {name!r}, which does not exist{nearest(str(name), BUILT_IN_ENGINES)} Engines:"
            f" {', '.join(BUILT_IN_ENGINES)}; one of your own says {{'ENGINE': 'dotted.path.of.its.Class'}}."
        )
    path = options["ENGINE"]
    if not isinstance(name, str) or not _ENGINE_NAME.fullmatch(name):
        raise ConfigurationError(
            f"{spot} has an engine {name!r}: a name is a small letter, then up to 19 small letters, digits, '_' or '-'."
        )
    if not isinstance(path, str) or "." not in path:
        raise ConfigurationError(f"{spot}[{name!r}]['ENGINE'] is {path!r}, but must be the dotted path of a class.")
    return OtherEngine(path=path, options={key: value for key, value in options.items() if key != "ENGINE"})
