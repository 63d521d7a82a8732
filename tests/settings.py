"""Settings of the tests: SQLite and the stub engine for units; real servers by environment for integration."""

import json
import os
from typing import Any
from urllib.parse import urlsplit

# The showcase's pages and tasks are tested too; what they need comes from its own settings.
from showcase.settings import (
    BROKER_URL,
    DEFAULT_FROM_EMAIL,
    FILE_UPLOAD_HANDLERS,
    LOGIN_REDIRECT_URL,
    LOGIN_URL,
    MAILERS,
    MEDIA_ROOT,
    MIDDLEWARE,
    ROOT_URLCONF,
    SECURE_CSP,
    TANDEM_INBOX_URL,
    TANDEM_RESTATE_UI_URL,
    TANDEM_SITE_URL,
    TEMPLATES,
    UPLOAD_MOST_BYTES,
)
from showcase.settings import INSTALLED_APPS as SHOWCASE_APPS

__all__ = [
    "BROKER_URL",
    "DEFAULT_FROM_EMAIL",
    "FILE_UPLOAD_HANDLERS",
    "LOGIN_REDIRECT_URL",
    "LOGIN_URL",
    "MAILERS",
    "MEDIA_ROOT",
    "MIDDLEWARE",
    "ROOT_URLCONF",
    "SECURE_CSP",
    "TANDEM_INBOX_URL",
    "TANDEM_RESTATE_UI_URL",
    "TANDEM_SITE_URL",
    "TEMPLATES",
    "UPLOAD_MOST_BYTES",
]

SECRET_KEY = "tests"
USE_TZ = True
INSTALLED_APPS = [*SHOWCASE_APPS, "tests.celery_work", "tests.work"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["127.0.0.1"]


def _database() -> dict[str, Any]:
    url = os.environ.get("DATABASE_URL")
    if url is None:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.removeprefix("/"),
        "USER": parts.username,
        "HOST": parts.hostname,
        "PORT": str(parts.port),
        "OPTIONS": json.loads(os.environ.get("TANDEM_TEST_DATABASE_OPTIONS", "{}")),
    }


DATABASES = {"default": _database()}

_ENGINES: dict[str, Any] = {"stub": {}}
if "TANDEM_BROKER_URL" in os.environ:
    _ENGINES = {
        "celery": {"BROKER_URL": os.environ["TANDEM_BROKER_URL"], "GRACE_SECONDS": 2.0},
        "restate": {
            "INGRESS_URL": os.environ["TANDEM_RESTATE_INGRESS_URL"],
            "ADMIN_URL": os.environ["TANDEM_RESTATE_ADMIN_URL"],
            "SERVICE_URL": os.environ["TANDEM_RESTATE_SERVICE_URL"],
            "PREFIX": os.environ.get("TANDEM_RESTATE_PREFIX", ""),
            "IDENTITY_KEYS": [key for key in os.environ.get("TANDEM_RESTATE_IDENTITY_KEYS", "").split(",") if key],
            "SERVER": os.environ.get("TANDEM_RESTATE_SERVER", "granian"),
            "CONCURRENCY": 4,
        },
    }

TASKS = {
    "default": {
        "BACKEND": "tandem.TandemBackend",
        "QUEUES": ["default", "other", "emails", "files"],
        "OPTIONS": {"ENGINES": _ENGINES, "LEASE_SECONDS": float(os.environ.get("TANDEM_TEST_LEASE", "3"))},
    }
}
