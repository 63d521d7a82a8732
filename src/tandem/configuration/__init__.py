"""A Tandem backend's `OPTIONS`, read once into typed values; a misspelt key is an error that suggests the right one."""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, Self

from tandem.configuration.engines import (
    BUILT_IN_ENGINES,
    IN_MEMORY,
    CeleryOptions,
    OtherEngine,
    RestateOptions,
    read_celery,
    read_options,
    read_other,
    read_restate,
)
from tandem.exceptions import ConfigurationError, nearest

__all__ = [
    "BUILT_IN_ENGINES",
    "CeleryOptions",
    "Configuration",
    "OtherEngine",
    "RestateOptions",
    "configurations",
    "ledger_configuration",
    "scaled_to_zero",
    "several",
]


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
    others: Mapping[str, OtherEngine] = field(default_factory=dict)
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
            if name in IN_MEMORY and engines[name] != {}:
                raise ConfigurationError(
                    f"{where}['ENGINES'][{name!r}] is {engines[name]!r}, but has no options: {{}}."
                )
        scalars = {item.name.upper() for item in fields(cls)} - {
            "ALIAS",
            "QUEUES",
            "CELERY",
            "RESTATE",
            "OTHERS",
            "ENGINES",
            "ENVIRONMENT_ROUTES",
        }
        for key in options:
            if key not in scalars:
                allowed = ["ENGINES", *sorted(scalars)]
                raise ConfigurationError(
                    f"{where} has an unknown key {key!r}{nearest(key, allowed)} Known keys: {', '.join(allowed)}."
                )
        base = read_options(cls, options, where)
        given = {item.name: getattr(base, item.name) for item in fields(cls)}
        given.update(
            alias=alias,
            queues=tuple(queues),
            engines=tuple(engines),
            others={
                name: read_other(name, given, f"{where}['ENGINES']")
                for name, given in engines.items()
                if name not in BUILT_IN_ENGINES
            },
            # They are for the one backend that has a ledger, not for its neighbours.
            environment_routes=""
            if IN_MEMORY.issuperset(engines)
            else (os.environ if environment is None else environment).get("TANDEM_ROUTES", ""),
        )
        if "celery" in engines:
            given["celery"] = read_celery(engines["celery"], f"{where}['ENGINES']['celery']")
        if "restate" in engines:
            given["restate"] = read_restate(engines["restate"], f"{where}['ENGINES']['restate']")
        return cls(**given)

    @property
    def in_memory(self) -> bool:
        """Whether it needs no server and no ledger: unit tests' engines alone."""
        return IN_MEMORY.issuperset(self.engines)

    @property
    def routable(self) -> tuple[str, ...]:
        """The engines that a rule or a call may name: in memory the others' names too, so that pinned code is testable."""
        if not self.in_memory:
            return self.engines
        return (*self.engines, *(name for name in BUILT_IN_ENGINES if name not in IN_MEMORY))


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
