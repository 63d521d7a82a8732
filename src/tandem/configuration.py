"""A Tandem backend's `OPTIONS`, read once into typed values; a misspelt key is an error that suggests the right one."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from tandem.exceptions import ConfigurationError, nearest

__all__ = [
    "BUILT_IN_ENGINES",
    "CeleryOptions",
    "Configuration",
    "RestateOptions",
    "configurations",
    "ledger_configuration",
    "scaled_to_zero",
    "several",
]

BUILT_IN_ENGINES: Final = ("celery", "restate", "stub", "immediate")
_IN_MEMORY: Final = frozenset({"stub", "immediate"})

# No dot: with two prefixes, the names of one never begin with the other and a dot.
_PREFIX: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9_-]*)?")

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def _read[T](kind: type[T], options: Any, where: str) -> T:
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


def _joined(celery: Any) -> Any:
    """Write a list of URLs as one text, as Celery takes it too."""
    urls = celery.get("BROKER_URL") if isinstance(celery, Mapping) else None
    return {**celery, "BROKER_URL": ";".join(map(str, urls))} if isinstance(urls, list | tuple) else celery


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
    Timeouts are seconds. `concurrency` is the number of bodies one service process runs at once;
    `longest_step` bounds one step: Restate aborts an attempt that is silent for longer. With `identity_keys`
    (`publickeyv1_...`, or PEM) requests that none of them signed are refused.
    """

    ingress_url: str = "http://127.0.0.1:8080"
    admin_url: str = "http://127.0.0.1:9070"
    service_url: str = "http://127.0.0.1:9080"
    prefix: str = ""
    identity_keys: tuple[str, ...] | list[str] = ()
    concurrency: int = 8
    connect_timeout: float = 0.4
    request_timeout: float = 10.0
    breaker_seconds: float = 2.0
    longest_step: float = 3600.0
    stuck_threads: int = 4


def _read_restate(options: Any, spot: str) -> RestateOptions:
    restate = _read(RestateOptions, options, spot)
    keys: object = restate.identity_keys  # What a project wrote, whatever the annotation says.
    if isinstance(keys, str) or not isinstance(keys, Collection):
        shown = "a text" if isinstance(keys, str) else repr(keys)
        raise ConfigurationError(f"{spot}['IDENTITY_KEYS'] is {shown}, but must be a list of keys.")
    if not _PREFIX.fullmatch(restate.prefix):
        raise ConfigurationError(
            f"{spot}['PREFIX'] is {restate.prefix!r}, but must be a letter, then letters, digits, '_' or '-': a"
            " '.' follows it in the names of services."
        )
    _require_url(restate.ingress_url, f"{spot}['INGRESS_URL']")
    _require_url(restate.service_url, f"{spot}['SERVICE_URL']")
    # Web has none: it never talks to the admin API.
    _require_url(restate.admin_url or restate.ingress_url, f"{spot}['ADMIN_URL']")
    return restate


def scaled_to_zero() -> frozenset[str]:
    """Read `TANDEM_SCALED_TO_ZERO`: engines, and queues as `ENGINE/QUEUE`, for which nothing runs while nothing is due."""
    return frozenset(filter(None, map(str.strip, os.environ.get("TANDEM_SCALED_TO_ZERO", "").split(","))))


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything under `TASKS[alias]["OPTIONS"]`.

    Seconds: `lease_seconds` (an attempt that is silent for that long has lost its execution), `relay_seconds`
    (between two rounds of the relay), `override_seconds` (how old a process's view of routing overrides may be).
    `max_arguments_bytes` bounds the JSON of one call's arguments, `max_result_bytes` that of a result.
    An execution that keeps killing its worker is dead once it has lost more leases than `max_lost_leases`. Without
    `queues` any name is one.
    """

    alias: str = "default"
    queues: tuple[str, ...] = ("default",)
    celery: CeleryOptions | None = None
    restate: RestateOptions | None = None
    engines: tuple[str, ...] = ("celery",)
    routes: Mapping[str, Any] = field(default_factory=dict)
    environment_routes: str = ""
    lease_seconds: float = 15.0
    relay_seconds: float = 0.5
    override_seconds: float = 1.0
    max_arguments_bytes: int = 1_048_576
    max_result_bytes: int = 1_048_576
    max_lost_leases: int = 3
    idempotency_days: float = 7.0
    retention_days: float = 30.0

    @classmethod
    def read(cls, alias: str, params: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Self:
        """Read `TASKS[alias]`; raises `ConfigurationError` naming the key, the value and what is allowed."""
        where = f"TASKS[{alias!r}]['OPTIONS']"
        queues: object = params.get("QUEUES", ["default"])
        if isinstance(queues, str) or not isinstance(queues, Collection):
            raise ConfigurationError(f"TASKS[{alias!r}]['QUEUES'] is {queues!r}, but must be a list of names.")
        options = dict(params.get("OPTIONS") or {})
        engines = options.pop("ENGINES", {"celery": {}})
        if not isinstance(engines, Mapping) or not engines:
            raise ConfigurationError(f"{where}['ENGINES'] must name at least one of {', '.join(BUILT_IN_ENGINES)}.")
        for name in engines:
            if name not in BUILT_IN_ENGINES:
                raise ConfigurationError(
                    f"{where}['ENGINES'] names the engine {name!r}, which does not exist"
                    f"{nearest(name, BUILT_IN_ENGINES)} Engines: {', '.join(BUILT_IN_ENGINES)}."
                )
            if name in _IN_MEMORY and engines[name] != {}:
                raise ConfigurationError(
                    f"{where}['ENGINES'][{name!r}] is {engines[name]!r}, but has no options: {{}}."
                )
        scalars = {item.name.upper() for item in fields(cls)} - {
            "ALIAS",
            "QUEUES",
            "CELERY",
            "RESTATE",
            "ENGINES",
            "ENVIRONMENT_ROUTES",
        }
        for key in options:
            if key not in scalars:
                allowed = ["ENGINES", *sorted(scalars)]
                raise ConfigurationError(
                    f"{where} has an unknown key {key!r}{nearest(key, allowed)} Known keys: {', '.join(allowed)}."
                )
        base = _read(cls, options, where)
        given = {item.name: getattr(base, item.name) for item in fields(cls)}
        given.update(
            alias=alias,
            queues=tuple(queues),
            engines=tuple(engines),
            # They are for the one backend that has a ledger, not for its neighbours.
            environment_routes=""
            if _IN_MEMORY.issuperset(engines)
            else (os.environ if environment is None else environment).get("TANDEM_ROUTES", ""),
        )
        if "celery" in engines:
            given["celery"] = _read(CeleryOptions, _joined(engines["celery"]), f"{where}['ENGINES']['celery']")
        if "restate" in engines:
            given["restate"] = _read_restate(engines["restate"], f"{where}['ENGINES']['restate']")
        return cls(**given)

    @property
    def in_memory(self) -> bool:
        """Whether it needs no server and no ledger: unit tests' engines alone."""
        return _IN_MEMORY.issuperset(self.engines)

    @property
    def routable(self) -> tuple[str, ...]:
        """The engines that a rule or a call may name: in memory the others' names too, so that pinned code is testable."""
        if not self.in_memory:
            return self.engines
        return (*self.engines, *(name for name in BUILT_IN_ENGINES if name not in _IN_MEMORY))


def configurations() -> Mapping[str, Configuration]:
    """Each Tandem backend's in TASKS, by alias."""
    from django.tasks import task_backends  # noqa: PLC0415  # its modules read settings
    from django.tasks.exceptions import InvalidTaskBackend  # noqa: PLC0415  # as above

    found = {}
    for alias in task_backends.settings:
        # Another's backend may be broken: that is said to who uses it.
        with suppress(InvalidTaskBackend):
            configuration = getattr(task_backends[alias], "configuration", None)
            if isinstance(configuration, Configuration):
                found[alias] = configuration
    return found


def ledger_configuration() -> Configuration:
    """Return that of the one backend that has a ledger, or, where all run in memory, of the first.

    Raises `ConfigurationError` where TASKS has no Tandem backend, or several with a ledger.
    """
    found = configurations()
    with_ledger = [item for item in found.values() if not item.in_memory]
    if len(with_ledger) > 1:
        raise ConfigurationError(several([item.alias for item in with_ledger]))
    if not found:
        raise ConfigurationError("TASKS has no backend of Tandem's: add one with BACKEND 'tandem.TandemBackend'.")
    return with_ledger[0] if with_ledger else next(iter(found.values()))


def several(aliases: Sequence[str]) -> str:
    """Say that backends would mix their rows."""
    return (
        f"TASKS has several backends with an engine that needs the ledger ({', '.join(aliases)}): they would take each"
        " other's rows. Give all such engines to one; a backend with the stub or the immediate engine may stand beside."
    )
