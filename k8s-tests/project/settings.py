"""The showcase's settings, and tasks whose ends can be counted."""

import os

from showcase.settings import *  # noqa: F403  # a project that extends another
from showcase.settings import INSTALLED_APPS as SHOWCASE_APPS

INSTALLED_APPS = [*SHOWCASE_APPS, "project.work"]
if os.environ.get("LATER"):
    INSTALLED_APPS.append("project.later")
