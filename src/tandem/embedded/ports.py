"""The ports of the stack: chosen by option or environment, and checked before anything starts."""

import errno
import os
import random
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self

from tandem.embedded.exceptions import StackError

__all__ = ["HOST", "OWNERS", "Ports"]

HOST: Final = "127.0.0.1"
LAST_PORT: Final = 65535
# Below the range from which the kernel takes ports for outgoing connections, so that none of those gets in between.
FREE_PORTS: Final = range(20000, 32000)

OWNERS: Final = {
    "web": "web",
    "postgres": "postgres",
    "redis": "redis",
    "restate_ingress": "restate",
    "restate_admin": "restate",
    "restate_fabric": "restate",
    "service": "service",
    "smtp": "inbox",
    "inbox": "inbox",
}
"""The part of the stack that listens on each port."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """Where each part listens, always on 127.0.0.1.

    `restate_admin` also has Restate's UI, `restate_fabric` its metrics; `smtp` takes mail and `inbox` shows it.
    """

    web: int = 8000
    postgres: int = 5433
    redis: int = 6390
    restate_ingress: int = 8080
    restate_admin: int = 9070
    restate_fabric: int = 5122
    service: int = 9080
    smtp: int = 1025
    inbox: int = 1080

    @classmethod
    def chosen(cls, options: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Self:
        """Take `options["port_NAME"]`, else `TANDEM_PORT_NAME` of the environment, else the default.

        Raises `StackError` for what is no port.
        """
        values: dict[str, int] = {}
        for name in OWNERS:
            variable = f"TANDEM_PORT_{name.upper()}"
            option, text = options.get(f"port_{name}"), environment.get(variable, "")
            if option is not None:
                values[name] = _port(str(option), option_of(name))
            elif text:
                values[name] = _port(text, variable)
        return cls(**values)

    @classmethod
    def free(cls) -> Self:
        """Choose ports that nothing listens on now; between this and their use somebody else may take one."""
        candidates = iter(random.sample(FREE_PORTS, len(FREE_PORTS)))
        return cls(**{name: next(port for port in candidates if _taken(port) is None) for name in OWNERS})

    def of(self, parts: Collection[str]) -> dict[str, int]:
        """Answer the ports that `parts` listen on, by name."""
        return {item.name: getattr(self, item.name) for item in fields(self) if OWNERS[item.name] in parts}

    def check(self, parts: Collection[str]) -> None:
        """Raise `StackError` that names every port of `parts` which is taken, by whom, and how to choose another."""
        problems, seen = [], dict[int, str]()
        for name, port in self.of(parts).items():
            way_out = f"choose another with {option_of(name)} or TANDEM_PORT_{name.upper()}"
            if port in seen:
                problems.append(f"port {port} is meant for {seen[port]} and for {name}: {way_out}")
            elif (error := _taken(port)) is not None:
                problems.append(f"port {port} for {name} ({OWNERS[name]}) is {error}{_listener(port)}: {way_out}")
            seen[port] = name
        if problems:
            raise StackError("Nothing was started. " + "; ".join(problems) + ".")


def option_of(name: str) -> str:
    return f"--port-{name.replace('_', '-')}"


def _port(text: str, source: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) <= LAST_PORT:
        raise StackError(f"{source} is {text!r}, which is no port: choose a whole number from 1 to {LAST_PORT}.")
    return int(text)


def _taken(port: int) -> str | None:
    with socket.socket() as probe:
        # As the servers do: connections of an earlier run that are still closing are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return "taken" if error.errno == errno.EADDRINUSE else f"not to be had ({error.strerror})"
    return None


def _listener(port: int) -> str:
    """Answer ` by NAME (process PID)` when the system tells; other users' processes often stay unknown."""
    import psutil  # noqa: PLC0415 - comes with the extra, while every management command imports this module

    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return ""
