"""Django's settings of the harness and of the processes it starts: everything comes from the environment."""

import os
from urllib.parse import urlsplit

SECRET_KEY = "chaos"
USE_TZ = True
TIME_ZONE = "UTC"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.chaos.web"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["tandem", "tests.chaos.apps.ChaosConfig"]

_DATABASE = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _DATABASE.path.removeprefix("/"),
        "USER": _DATABASE.username,
        "HOST": _DATABASE.hostname,
        "PORT": str(_DATABASE.port),
        "CONN_MAX_AGE": None,
    }
}

TASKS = {
    "default": {
        "BACKEND": "tandem.TandemBackend",
        "QUEUES": ["default"],
        "OPTIONS": {
            "ENGINES": {
                "celery": {"BROKER_URL": os.environ["TANDEM_BROKER_URL"], "GRACE_SECONDS": 2.0},
                "restate": {
                    "INGRESS_URL": os.environ["TANDEM_RESTATE_INGRESS_URL"],
                    "ADMIN_URL": os.environ["TANDEM_RESTATE_ADMIN_URL"],
                    "SERVICE_URL": os.environ["TANDEM_RESTATE_SERVICE_URL"],
                    "SERVER": os.environ.get("TANDEM_RESTATE_SERVER", "granian"),
                    "IDENTITY_KEYS": [os.environ["TANDEM_RESTATE_IDENTITY_KEYS"]],
                },
            },
            "LEASE_SECONDS": float(os.environ["TANDEM_CHAOS_LEASE"]),
        },
    }
}
