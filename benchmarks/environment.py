"""What the processes of a run are told, in one environment variable."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

__all__ = ["ROOT", "Environment"]

ROOT: Final = Path(__file__).resolve().parent.parent

_VARIABLE: Final = "TANDEM_BENCHMARK"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where the servers are, whose process this is, the file for `benchmarks.channel`, and another release's `src`."""

    contender: str
    database: Mapping[str, str]
    redis_url: str
    ingress_url: str
    admin_url: str
    identity_key: str
    service_port: int
    channel: str = ""
    source: str = ""

    @classmethod
    @cache
    def read(cls) -> Self:
        """What the parent process gave this one."""
        return cls(**json.loads(os.environ[_VARIABLE]))

    @property
    def service_url(self) -> str:
        """Where Restate finds the contender's service."""
        return f"http://127.0.0.1:{self.service_port}"

    @property
    def database_url(self) -> str:
        """The database, as SQLAlchemy and libpq name it."""
        return "postgresql://{USER}@{HOST}:{PORT}/{NAME}".format(**self.database)

    def connection(self) -> dict[str, Any]:
        """libpq's parameters of the database."""
        names = {"HOST": "host", "PORT": "port", "USER": "user", "NAME": "dbname"}
        return {names[name]: value for name, value in self.database.items()}

    def variables(self) -> dict[str, str]:
        """The environment of a process of this contender; routing rules of the caller's shell stay out of it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")}
        return {
            **kept,
            _VARIABLE: json.dumps(asdict(self)),
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "PYTHONPATH": os.pathsep.join(filter(None, [self.source, str(ROOT), os.environ.get("PYTHONPATH", "")])),
            "PYTHONUNBUFFERED": "1",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }
