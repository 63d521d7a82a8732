"""The soak's settings: those of the chaos suite, with the short tasks of the tests."""

from tests.chaos.settings import DATABASES, DEFAULT_AUTO_FIELD, SECRET_KEY, TASKS, USE_TZ
from tests.chaos.settings import INSTALLED_APPS as CHAOS_APPS

__all__ = ["DATABASES", "DEFAULT_AUTO_FIELD", "INSTALLED_APPS", "SECRET_KEY", "TASKS", "USE_TZ"]

INSTALLED_APPS = [*CHAOS_APPS, "tests.work"]
