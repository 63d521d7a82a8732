"""Tandem's own processes as programs of the stack: inbox, a look at the settings, migrations, web, worker, service, relay."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tandem.embedded.ports import HOST, Ports
from tandem.embedded.processes import Program
from tandem.embedded.servers import answers_http, greets_smtp

__all__ = ["inbox", "own_programs"]

WORKER_CHILDREN: Final = 2
WEB_THREADS: Final = 4
MIGRATION_SECONDS: Final = 240.0
# Until the worker and the service have finished, or requeued, what they are running.
DRAIN_SECONDS: Final = 15.0
_GRACE_SECONDS: Final = DRAIN_SECONDS - 5.0


def inbox(*, ports: Ports, data: Path) -> Program:
    """Build the SMTP server that keeps every message."""
    command = [sys.executable, "-m", "tandem.embedded.inbox", "--host", HOST]
    ports_and_folder = ["--port", ports.smtp, "--http-port", ports.inbox, "--directory", data / "inbox"]
    return Program(
        name="inbox",
        command=[*command, *map(str, ports_and_folder)],
        environment=lambda: {"PYTHONUNBUFFERED": "1"},
        probe=lambda: greets_smtp(ports.smtp) or answers_http(ports.inbox, "/"),
    )


def own_programs(
    *,
    manage: Sequence[str],
    directory: Path,
    wsgi: str,
    ports: Ports,
    data: Path,
    environment: Callable[[], Mapping[str, str]],
) -> list[Program]:
    """Build the look at the settings, migrations, web, worker, service and relay.

    `manage` runs a management command, in `directory`. `environment` is asked at each start: what the servers tell
    only once they run is in it. The last three say that they are ready by making the file `TANDEM_READY_FILE`.
    """
    service_url = f"http://{HOST}:{ports.service}"

    def ready_file(name: str) -> Path:
        return data / "run" / f"{name}.ready"

    def command(name: str, *arguments: str, after: set[str]) -> Program:
        path = ready_file(name)

        def environment_of_start() -> Mapping[str, str]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            return {**environment(), "TANDEM_READY_FILE": str(path)}

        return Program(
            name=name,
            command=[*manage, "tandem", name, *arguments],
            environment=environment_of_start,
            directory=directory,
            probe=lambda: None if path.exists() else f"it has not made {path}",
            after=frozenset(after),
            grace=DRAIN_SECONDS,
        )

    gunicorn = [
        sys.executable,
        "-m",
        "gunicorn",
        wsgi,
        "--bind",
        f"{HOST}:{ports.web}",
        "--workers",
        "1",
        "--worker-class",
        "gthread",
        "--threads",
        str(WEB_THREADS),
        "--graceful-timeout",
        "5",
        "--log-level",
        "warning",
        "--no-control-socket",
    ]
    grace = ("--grace", f"{_GRACE_SECONDS:g}")
    return [
        Program(
            name="settings",
            command=[*manage, "tandem", "require", "addresses"],
            environment=environment,
            directory=directory,
            once=True,
        ),
        Program(
            name="migrate",
            command=[*manage, "migrate", "--noinput", "--verbosity", "0"],
            environment=environment,
            directory=directory,
            # Nothing of the project's touches a server that its settings name and the stack did not start.
            after=frozenset({"postgres", "settings"}),
            once=True,
            patience=MIGRATION_SECONDS,
        ),
        Program(
            name="web",
            command=gunicorn,
            environment=environment,
            directory=directory,
            probe=lambda: answers_http(ports.web, "/"),
            after=frozenset({"settings", "migrate"}),
        ),
        command("worker", *grace, "--concurrency", str(WORKER_CHILDREN), after={"settings", "migrate", "redis"}),
        command(
            "service", *grace, "--register", "--service-url", service_url, after={"settings", "migrate", "restate"}
        ),
        command("relay", after={"settings", "migrate", "redis", "restate"}),
    ]
