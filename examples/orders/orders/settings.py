"""The settings: Django's own few, and Tandem's block as README has it."""

import os

from tandem import addresses

SECRET_KEY = os.environ.get("SECRET_KEY", "for this machine alone")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "orders.views"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "orders", "tandem"]
DATABASES = {"default": addresses.database()}
TASKS = {
    "default": {
        "BACKEND": "tandem.TandemBackend",
        "OPTIONS": {
            "ENGINES": {"celery": addresses.celery(), "restate": addresses.restate()},
            "ROUTES": {"default": "celery"},
        },
    }
}
