"""The soak's settings: those of the chaos suite, with the short tasks of the tests."""

from tests.chaos.settings import DATABASES, DEFAULT_AUTO_FIELD, SECRET_KEY, USE_TZ
from tests.chaos.settings import INSTALLED_APPS as CHAOS_APPS
from tests.chaos.settings import TASKS as CHAOS_TASKS

__all__ = ["DATABASES", "DEFAULT_AUTO_FIELD", "INSTALLED_APPS", "SECRET_KEY", "TASKS", "USE_TZ"]

INSTALLED_APPS = [*CHAOS_APPS, "tests.work"]

# One of those tasks has a queue of its own.
TASKS = {"default": CHAOS_TASKS["default"] | {"QUEUES": ["default", "other"]}}
