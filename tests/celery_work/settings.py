"""Settings of the Celery engine's own tests: real servers by environment, and no other engine."""

import json
import os
from typing import Any
from urllib.parse import urlsplit

_database = urlsplit(os.environ["DATABASE_URL"])

SECRET_KEY = "tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "tandem",
    "tests.work",
    "tests.celery_work",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.path.removeprefix("/"),
        "USER": _database.username,
        "HOST": _database.hostname,
        "PORT": str(_database.port),
        "OPTIONS": json.loads(os.environ.get("TANDEM_TEST_DATABASE_OPTIONS", "{}")),
    }
}
TASKS: dict[str, Any] = {
    "default": {
        "BACKEND": "tandem.TandemBackend",
        "QUEUES": ["default", "other", "emails"],
        "OPTIONS": {
            "ENGINES": {
                "celery": {
                    "BROKER_URL": os.environ.get("TANDEM_BROKER_URL", "redis://127.0.0.1:1/0"),
                    "APP": os.environ.get("TANDEM_TEST_CELERY_APP", ""),
                    "KEY_PREFIX": os.environ.get("TANDEM_TEST_KEY_PREFIX", ""),
                    "GRACE_SECONDS": 1.0,
                }
            },
            "LEASE_SECONDS": float(os.environ.get("TANDEM_TEST_LEASE", "3")),
        },
    }
}
