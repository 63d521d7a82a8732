"""The showcase's settings, and tasks whose ends can be counted."""

import os

from django.conf import global_settings

from showcase.settings import *  # noqa: F403  # a project that extends another
from showcase.settings import INSTALLED_APPS as SHOWCASE_APPS

# As in a project that says nothing of it.
TIME_ZONE = global_settings.TIME_ZONE
INSTALLED_APPS = [*SHOWCASE_APPS, "project.work"]
if os.environ.get("LATER"):
    INSTALLED_APPS.append("project.later")
