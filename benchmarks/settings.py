"""Django's settings for one contender's processes: only that contender's apps are installed."""

from benchmarks.environment import Environment

ENVIRONMENT = Environment.read()

SECRET_KEY = "benchmark"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": None, **ENVIRONMENT.database},
}

# The last release's processes are set up as this tree's.
CONTENDER = ENVIRONMENT.contender.replace("release-", "tandem-")

_TANDEM = ["tandem", "benchmarks"]
_APPS = {
    "tandem-celery": _TANDEM,
    "tandem-threads": _TANDEM,
    "tandem-restate": _TANDEM,
    "celery-results": ["django_celery_results"],
    "django-tasks-db": ["django_tasks_db"],
    "procrastinate": ["procrastinate.contrib.django"],
}
INSTALLED_APPS = _APPS.get(CONTENDER, [])

PROCRASTINATE_AUTODISCOVER_MODULE_NAME = ""
PROCRASTINATE_IMPORT_PATHS = ["benchmarks.contenders.procrastinate_django"]

_CELERY = {"celery": {"BROKER_URL": ENVIRONMENT.redis_url}}
_ENGINES = {
    "tandem-celery": _CELERY,
    "tandem-threads": _CELERY,
    "tandem-restate": {
        "restate": {
            "INGRESS_URL": ENVIRONMENT.ingress_url,
            "ADMIN_URL": ENVIRONMENT.admin_url,
            "SERVICE_URL": ENVIRONMENT.service_url,
            "IDENTITY_KEYS": [ENVIRONMENT.identity_key],
        }
    },
}
if CONTENDER in _ENGINES:
    TASKS = {
        "default": {
            "BACKEND": "tandem.TandemBackend",
            "QUEUES": ["default"],
            "OPTIONS": {"ENGINES": _ENGINES[CONTENDER]},
        }
    }
if CONTENDER == "django-tasks-db":
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default"]}}
