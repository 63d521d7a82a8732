"""PostgreSQL, Redis and Restate as programs of the stack: their commands, first set-up and probes."""

import base64
import http.client
import json
import os
import pwd
import re
import secrets
import shutil
import smtplib
import socket
import stat
import subprocess
from pathlib import Path
from signal import SIGINT
from typing import Final

import psycopg

from tandem.embedded.binaries import Binary
from tandem.embedded.exceptions import StackError
from tandem.embedded.ports import HOST, Ports
from tandem.embedded.processes import Program

__all__ = ["Restate", "answers_http", "greets_smtp", "postgres", "redis"]

DATABASE: Final = "tandem"
ROLE: Final = "tandem"
UNPRIVILEGED_USER: Final = "nobody"
PROBE_SECONDS: Final = 2.0
INITDB_SECONDS: Final = 120
SERVER_ERRORS: Final = 500
BUILTIN_LOCALES_SINCE: Final = 17
# The bits of a process's capability set, as in capabilities(7).
CAPABILITIES: Final = {"dac_read_search": 1 << 2, "dac_override": 1 << 1}
# What comes before the 32 bytes of an Ed25519 private key in PKCS #8.
ED25519_PREFIX: Final = bytes.fromhex("302e020100300506032b657004220420")


def answers_http(port: int, path: str, query: str | None = None) -> str | None:
    """Answer why `path` is not served yet, or `None`. An error of the client's side, such as 404, is an answer.

    `query` is sent to it as Restate takes SQL.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=PROBE_SECONDS)
    try:
        if query is None:
            connection.request("GET", path)
        else:
            body = json.dumps({"query": query})
            connection.request("POST", path, body, {"Content-Type": "application/json", "Accept": "application/json"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"http://{HOST}:{port}{path}: {error!r}"
    finally:
        connection.close()
    return f"http://{HOST}:{port}{path} answers {status}" if status >= SERVER_ERRORS else None


def greets_smtp(port: int) -> str | None:
    """Answer why no SMTP server greets yet, or `None`."""
    try:
        with smtplib.SMTP(HOST, port, timeout=PROBE_SECONDS):
            return None
    except (OSError, smtplib.SMTPException) as error:
        return f"SMTP on {HOST}:{port}: {error!r}"


def postgres(binary: Binary, *, ports: Ports, data: Path) -> Program:
    """Build PostgreSQL with the database and role `tandem`, over TCP on 127.0.0.1 only; fsync stays on.

    PostgreSQL refuses to run as root: it then runs as `nobody`, who owns its folder.
    """
    folder = data / "postgres"
    privileges = _privileges(folder, binary.path) if os.geteuid() == 0 else ()
    settings = {
        "listen_addresses": HOST,
        "port": str(ports.postgres),
        "unix_socket_directories": "",
        "shared_buffers": "128MB",
        "max_connections": "200",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        "log_min_messages": "warning",
    }

    def probe() -> str | None:
        try:
            with psycopg.connect(
                host=HOST, port=ports.postgres, user=ROLE, dbname="postgres", connect_timeout=2, autocommit=True
            ) as connection:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if known is None:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.Error as error:
            return f"PostgreSQL on {HOST}:{ports.postgres}: {error}".strip()
        return None

    return Program(
        name="postgres",
        command=[
            str(binary.path),
            "-D",
            str(folder),
            *(argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")),
        ],
        probe=probe,
        prepare=lambda: _initialise(binary, folder, privileges),
        privileges=privileges,
        # A "fast shutdown": SIGTERM would wait for clients to leave.
        stop_signal=SIGINT,
    )


def _initialise(binary: Binary, folder: Path, privileges: tuple[str, ...]) -> None:
    """Make the cluster, unless it is there; a half-made one is never taken for whole."""
    version_file = folder / "PG_VERSION"
    if version_file.exists():
        if (made_by := version_file.read_text().strip()) != str(binary.version[0]):
            raise StackError(
                f"{folder} was made by PostgreSQL {made_by}, but {binary} was found: name a PostgreSQL {made_by} in "
                f"TANDEM_POSTGRES, or remove the data (make clean-data)"
            )
        return
    fresh = folder.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if privileges:
        user = pwd.getpwnam(UNPRIVILEGED_USER)
        os.chown(fresh, user.pw_uid, user.pw_gid)
    locale = ["--locale=C", "--encoding=UTF8"]
    if binary.version[0] >= BUILTIN_LOCALES_SINCE:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command = [str(binary.path.with_name("initdb")), "-D", str(fresh), f"--username={ROLE}", "--auth=trust", *locale]
    done = subprocess.run(  # noqa: S603 - the server that was found
        ["setpriv", "--pdeathsig=KILL", *privileges, "--", *command] if privileges else command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=INITDB_SECONDS,
        check=False,
    )
    if done.returncode:
        raise StackError(f"initdb failed: {(done.stderr or done.stdout).strip()[-800:]}")
    fresh.rename(folder)


def _privileges(*paths: Path) -> tuple[str, ...]:
    """Answer `setpriv`'s options for running as `nobody`, still able to pass folders that only root may enter.

    Such a folder is above `paths` when a checkout lies in root's home or in one of `mktemp -d`. Nobody's folder is
    changed for it: the server keeps the one capability that lets it pass, and only then. `no_setuid_fixup` makes
    access(2), by which PostgreSQL looks for its own parts, heed it.
    """
    try:
        user = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise StackError(f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED_USER!r}.") from None
    options = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    closed = [
        folder
        for path in paths
        for folder in path.resolve().parents
        if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH
    ]
    if not closed:
        return (*options, "--bounding-set=-all", "--inh-caps=-all")
    held = re.search(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    mask = int(held.group(1), 16) if held else 0
    name = next((name for name, bit in CAPABILITIES.items() if mask & bit), None)
    if name is None:
        raise StackError(
            f"PostgreSQL does not run as root, and {UNPRIVILEGED_USER!r} may not enter {closed[-1]}: start as an "
            "ordinary user, or put the data and the checkout where everybody may pass."
        )
    only = f"-all,+{name}"
    return (
        *options,
        "--securebits=+no_setuid_fixup",
        f"--inh-caps={only}",
        f"--ambient-caps={only}",
        f"--bounding-set={only}",
    )


def redis(binary: Binary, *, ports: Ports, data: Path) -> Program:
    """Build Redis. It keeps nothing over a restart: the ledger is the truth, and the relay sends again what it held."""
    folder = data / "redis"
    options = {
        "bind": HOST,
        "port": str(ports.redis),
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }

    def probe() -> str | None:
        try:
            with socket.create_connection((HOST, ports.redis), PROBE_SECONDS) as connection:
                connection.sendall(b"PING\r\n")
                answer = connection.recv(64)
        except OSError as error:
            return f"Redis on {HOST}:{ports.redis}: {error}"
        return None if answer.startswith(b"+PONG") else f"Redis on {HOST}:{ports.redis} answers {answer!r}"

    arguments = [argument for name, value in options.items() for argument in (f"--{name}", value)]
    return Program(
        name="redis",
        command=[str(binary.path), *arguments],
        probe=probe,
        prepare=lambda: folder.mkdir(parents=True, exist_ok=True),
    )


class Restate:
    """A single-node Restate that signs its requests to services; `identity_key` is what they check them by."""

    def __init__(self, binary: Binary, *, ports: Ports, data: Path) -> None:
        self.identity_key: str | None = None
        self._ports = ports
        self._folder = data / "restate"
        self.program = Program(
            name="restate",
            command=[str(binary.path), "--no-logo"],
            environment=self._environment,
            prepare=self._prepare,
            probe=self._probe,
            on_line=self._read,
        )

    @property
    def _key_file(self) -> Path:
        return self._folder / "identity.pem"

    def _environment(self) -> dict[str, str]:
        ports = self._ports
        return {
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_NODE_NAME": "tandem",
            "RESTATE_CLUSTER_NAME": "tandem",
            "RESTATE_BASE_DIR": str(self._folder / "data"),
            "RESTATE_BIND_ADDRESS": f"{HOST}:{ports.restate_fabric}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://{HOST}:{ports.restate_fabric}/",
            "RESTATE_INGRESS__BIND_ADDRESS": f"{HOST}:{ports.restate_ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"{HOST}:{ports.restate_admin}",
            "RESTATE_WORKER__INVOKER__REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE": str(self._key_file),
            "RESTATE_DEFAULT_NUM_PARTITIONS": os.environ.get("TANDEM_RESTATE_PARTITIONS") or "4",
            "RESTATE_ROCKSDB_TOTAL_MEMORY_SIZE": "128MiB",
            "RESTATE_ADMIN__QUERY_ENGINE__MEMORY_SIZE": "256MiB",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_LOG_FORMAT": "compact",
            "RESTATE_LOG_DISABLE_ANSI_CODES": "true",
            # The public key is told nowhere else. `octocrab` looks for a Kubernetes that is not there, and failed
            # queries are told to who asked.
            "RUST_LOG": "warn,octocrab=off,restate_admin::query_utils=off,restate_service_client::request_identity=info",
        }

    def _prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._key_file.exists():
            return
        key = base64.b64encode(ED25519_PREFIX + secrets.token_bytes(32)).decode()
        fresh = self._key_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(f"-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n")
        fresh.rename(self._key_file)

    def _read(self, line: str) -> None:
        if match := re.search(r"publickeyv1_\w+", line):
            self.identity_key = match.group()

    def _probe(self) -> str | None:
        admin, ingress = self._ports.restate_admin, self._ports.restate_ingress
        return (
            answers_http(admin, "/health")
            or answers_http(ingress, "/restate/health")
            # Healthy servers refuse work for a moment longer: every partition must have its leader.
            or answers_http(admin, "/query", "select count(*) from sys_invocation")
            or (None if self.identity_key else "Restate has not logged its request identity key")
        )
