"""What the environment says: `REGISTRAR_` with `NAMESPACES`, `CONSENTS`, `HOST`, `PORT` and `LOG_LEVEL`."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from registrar.consent import Consent, InvalidConsents, read_consents

__all__ = ["InvalidOption", "Options"]

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HIGHEST_PORT: Final = 65535
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class InvalidOption(Exception):
    """A variable that cannot be used; the message names it and its value."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """`namespaces` to watch, empty for all; where objects may point outside of their own; where health is served."""

    namespaces: Sequence[str] = ()
    consents: Sequence[Consent] = ()
    host: str = "0.0.0.0"  # noqa: S104  # the kubelet and Prometheus come from outside of the pod
    port: int = 8080
    log_level: int = logging.INFO

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables; raises `InvalidOption`."""
        listed = [item.strip() for item in environment.get("REGISTRAR_NAMESPACES", "").split(",")]
        namespaces = [item for item in listed if item]
        for namespace in namespaces:
            if not _NAMESPACE.fullmatch(namespace):
                raise InvalidOption(f"REGISTRAR_NAMESPACES: {namespace!r} is no name of a namespace")
        port = environment.get("REGISTRAR_PORT") or str(cls.port)
        if not port.isdecimal() or not 0 < int(port) <= _HIGHEST_PORT:
            raise InvalidOption(f"REGISTRAR_PORT: {port!r} is no port")
        level = (environment.get("REGISTRAR_LOG_LEVEL") or "info").lower()
        if level not in _LEVELS:
            raise InvalidOption(f"REGISTRAR_LOG_LEVEL: {level!r} is none of {', '.join(_LEVELS)}")
        try:
            consents = read_consents(environment.get("REGISTRAR_CONSENTS", ""))
        except InvalidConsents as error:
            raise InvalidOption(f"REGISTRAR_CONSENTS: {error}") from error
        return cls(
            namespaces=namespaces,
            consents=consents,
            host=environment.get("REGISTRAR_HOST") or cls.host,
            port=int(port),
            log_level=_LEVELS[level],
        )
