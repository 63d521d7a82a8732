"""The whole stack, or a part of it: what `manage.py tandem up` runs, for programs and tests."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from tandem.addresses import FILE
from tandem.embedded import binaries, programs, servers
from tandem.embedded.exceptions import StackError
from tandem.embedded.ports import HOST, Ports
from tandem.embedded.processes import Program
from tandem.embedded.supervisor import READY_SECONDS, Supervisor

__all__ = ["PARTS", "Stack"]

PARTS: Final = ("postgres", "redis", "restate", "inbox", "settings", "migrate", "web", "worker", "service", "relay")
"""What a stack may have, in the order of its needs; `settings` and `migrate` end when they are done.

`settings` refuses a project whose settings name other servers than the stack's.
"""

SERVERS: Final = ("postgres", "redis", "restate", "inbox")


class Stack(Supervisor):
    """Real servers and Tandem's own processes, with all they keep in the folder `data`.

    `only` names the parts to start (default: all). `manage` runs a management command, for example
    `[sys.executable, "manage.py"]`, in `directory`; `wsgi` is the site as gunicorn takes it. `environment` is added to
    that of Tandem's own processes. `console` takes their prefixed logs; `None` leaves them to `data/logs`.

    `start`, `wait_ready`, `stop`; or use it as a context manager, which does all three. A stack is started once.
    See `Supervisor` for `pids`, `kill`, `restarts`, `is_ready`, `rss` and `hurry`.
    Raises `StackError` for an unknown part, a missing or too old program, a taken port, or a folder in use.
    """

    def __init__(
        self,
        *,
        data: Path,
        ports: Ports | None = None,
        only: Iterable[str] = PARTS,
        manage: Sequence[str] = (sys.executable, "-m", "django"),
        directory: Path | None = None,
        wsgi: str = "django.core.wsgi:get_wsgi_application()",
        environment: Mapping[str, str] | None = None,
        console: TextIO | None = None,
    ) -> None:
        wanted = set(only)
        if not wanted or not wanted <= set(PARTS):
            unknown = ", ".join(sorted(wanted - set(PARTS))) or "nothing"
            raise StackError(f"A stack cannot be made of {unknown}: choose from {', '.join(PARTS)}.")
        self.parts = tuple(part for part in PARTS if part in wanted)
        super().__init__(data=data, console=console)
        self.ports = ports or Ports.chosen({})
        self._manage = manage
        self._directory = directory or Path.cwd()
        self._wsgi = wsgi
        self._environment = dict(environment or {})
        self._restate: servers.Restate | None = None

    @property
    def addresses(self) -> dict[str, str]:
        """Where the chosen parts are, by the variables that the project's settings read.

        `TANDEM_RESTATE_IDENTITY_KEYS` is there once Restate is ready. `TANDEM_RESTATE_SERVICE_URL` comes with Restate:
        it is where Restate is told to find the service, whoever runs it.
        """
        ports, found = self.ports, dict[str, str]()
        if "postgres" in self.parts:
            found["DATABASE_URL"] = f"postgresql://{servers.ROLE}@{HOST}:{ports.postgres}/{servers.DATABASE}"
        if "redis" in self.parts:
            found["TANDEM_BROKER_URL"] = f"redis://{HOST}:{ports.redis}/0"
        if "restate" in self.parts:
            found["TANDEM_RESTATE_INGRESS_URL"] = f"http://{HOST}:{ports.restate_ingress}"
            found["TANDEM_RESTATE_ADMIN_URL"] = f"http://{HOST}:{ports.restate_admin}"
            found["TANDEM_RESTATE_UI_URL"] = f"http://{HOST}:{ports.restate_admin}/ui/"
            found["TANDEM_RESTATE_SERVICE_URL"] = f"http://{HOST}:{ports.service}"
        if self._restate and self._restate.identity_key:
            found["TANDEM_RESTATE_IDENTITY_KEYS"] = self._restate.identity_key
        if "inbox" in self.parts:
            found |= {"EMAIL_HOST": HOST, "EMAIL_PORT": str(ports.smtp)}
            found["TANDEM_INBOX_URL"] = f"http://{HOST}:{ports.inbox}/"
        if "web" in self.parts:
            found["TANDEM_SITE_URL"] = f"http://{HOST}:{ports.web}/"
        return found

    def start(self) -> None:
        """Find the servers, take the folder, check the ports, then start; returns before anything is ready.

        The first use of Restate on a machine installs it, which takes seconds.
        """
        chosen = [self._server(part) for part in self.parts if part in SERVERS]
        chosen += [program for program in self._own() if program.name in self.parts]
        self.acquire()
        try:
            self.ports.check(self.parts)
            self._write_addresses()
            self.launch(chosen)
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """As `Supervisor.wait_ready`; then the addresses are complete, Restate's key among them."""
        super().wait_ready(timeout)
        self._write_addresses()

    def _write_addresses(self) -> None:
        """Leave the addresses where `tandem.addresses` looks: settings that ask it find them in any terminal."""
        path = self.data / FILE
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(f"{name}={value}\n" for name, value in self.addresses.items()))
        fresh.replace(path)

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _server(self, part: str) -> Program:
        ports, data = self.ports, self.data
        if part == "postgres":
            return servers.postgres(binaries.postgres(), ports=ports, data=data)
        if part == "redis":
            return servers.redis(binaries.redis(), ports=ports, data=data)
        if part == "restate":
            self._restate = servers.Restate(binaries.restate(), ports=ports, data=data)
            return self._restate.program
        return programs.inbox(ports=ports, data=data)

    def _own(self) -> list[Program]:
        return programs.own_programs(
            manage=self._manage,
            directory=self._directory,
            wsgi=self._wsgi,
            ports=self.ports,
            data=self.data,
            environment=lambda: (
                {"PYTHONUNBUFFERED": "1", "TANDEM_DATA": str(self.data)} | self.addresses | self._environment
            ),
        )
