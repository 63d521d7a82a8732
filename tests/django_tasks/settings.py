"""Settings under which Django's tests, and the workers of their engine, run."""

import os
from typing import Any
from urllib.parse import urlsplit

from tests.django_tasks.adapter import ENGINE, options_of

SECRET_KEY = "tests"
USE_TZ = True
INSTALLED_APPS = ["tandem", "tasks"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def _database() -> dict[str, Any]:
    if "DATABASE_URL" not in os.environ:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    parts = urlsplit(os.environ["DATABASE_URL"])
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.removeprefix("/"),
        "USER": parts.username,
        "HOST": parts.hostname,
        "PORT": str(parts.port),
    }


DATABASES = {"default": _database()}
# The backend by whose class the tasks are declared; each test case then sets its own.
DECLARED = os.environ.get("TANDEM_DJANGO_TASKS_DECLARED", "tandem.TandemBackend")
TASKS: dict[str, Any] = {"default": {"BACKEND": DECLARED}}
if DECLARED == "tandem.TandemBackend":
    TASKS["default"]["OPTIONS"] = options_of(ENGINE)
