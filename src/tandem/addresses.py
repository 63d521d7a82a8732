"""Where the servers are, for a project's settings.

Each address comes from the environment where that names it (`DATABASE_URL`, `TANDEM_BROKER_URL`,
`TANDEM_RESTATE_INGRESS_URL` and its like), else from the stack of `manage.py tandem up` that runs on this project's data
folder, else it is where `up` puts things by default. Settings may import this: it needs nothing of Django's.
"""

import fcntl
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tandem.exceptions import ConfigurationError

__all__ = ["celery", "data_folder", "database", "restate"]

FILE: Final = "addresses.env"
DEFAULTS: Final[Mapping[str, str]] = {
    "DATABASE_URL": "postgresql://tandem@127.0.0.1:5433/tandem",
    "TANDEM_BROKER_URL": "redis://127.0.0.1:6390/0",
    "TANDEM_RESTATE_INGRESS_URL": "http://127.0.0.1:8080",
    "TANDEM_RESTATE_ADMIN_URL": "http://127.0.0.1:9070",
    "TANDEM_RESTATE_SERVICE_URL": "http://127.0.0.1:9080",
}
_FORM: Final = "Write it as postgresql://user:password@host:5432/name."


def database() -> dict[str, Any]:
    """Return what `DATABASES["default"]` takes; raises `ConfigurationError` for a `DATABASE_URL` that is none."""
    url = _source("DATABASE_URL")["DATABASE_URL"]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"DATABASE_URL is not a URL ({error}). {_FORM}") from None
    name = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ConfigurationError(f"DATABASE_URL starts with {parts.scheme!r}, but only PostgreSQL works. {_FORM}")
    if not name or "/" in name:
        raise ConfigurationError(f"DATABASE_URL names no database but {parts.path!r}. {_FORM}")
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        # A folder here is PostgreSQL's Unix socket: postgresql:///name?host=/run/postgresql
        "HOST": options.pop("host", unquote(parts.hostname or "")),
        "PORT": options.pop("port", str(port or "")),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


def celery() -> dict[str, Any]:
    """Return what `ENGINES["celery"]` needs; add further options with `{**addresses.celery(), ...}`."""
    return {"BROKER_URL": _source("TANDEM_BROKER_URL")["TANDEM_BROKER_URL"]}


def restate() -> dict[str, Any]:
    """Return what `ENGINES["restate"]` needs.

    All of it has one source: an environment that names the ingress alone gives no admin API, as for web processes.
    """
    source = _source("TANDEM_RESTATE_INGRESS_URL")
    keys = source.get("TANDEM_RESTATE_IDENTITY_KEYS", "").split(",")
    return {
        "INGRESS_URL": source["TANDEM_RESTATE_INGRESS_URL"],
        "ADMIN_URL": source.get("TANDEM_RESTATE_ADMIN_URL", ""),
        "SERVICE_URL": source.get("TANDEM_RESTATE_SERVICE_URL") or DEFAULTS["TANDEM_RESTATE_SERVICE_URL"],
        "PREFIX": source.get("TANDEM_RESTATE_PREFIX", ""),
        "IDENTITY_KEYS": [key.strip() for key in keys if key.strip()],
    }


def data_folder() -> Path:
    """Return where `up` keeps its data: `TANDEM_DATA`, else `.tandem` beside `manage.py`, else in this folder."""
    if named := os.environ.get("TANDEM_DATA"):
        return Path(named)
    script = Path(sys.argv[0]).resolve() if sys.argv else Path()
    return (script.parent if script.name == "manage.py" and script.is_file() else Path.cwd()) / ".tandem"


def _source(variable: str) -> Mapping[str, str]:
    """Choose where a server's addresses come from: the first source that has `variable`."""
    if os.environ.get(variable):
        return os.environ
    stack = _of_the_stack(data_folder())
    return stack if variable in stack else DEFAULTS


def _of_the_stack(data: Path) -> Mapping[str, str]:
    """Read the addresses of the stack that runs on `data`; empty where none does: what it left behind is stale."""
    try:
        with (data / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                lines = (data / FILE).read_text().splitlines()
                return dict(line.split("=", 1) for line in lines)
    except OSError:
        # There never was one, or it is somebody else's.
        pass
    return {}
