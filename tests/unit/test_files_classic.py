"""The classic chain is sent by the project's own Celery app."""

import os
import subprocess
import sys

CODE = (
    "import django; django.setup()\n"
    "from showcase.files import classic\n"
    "print(classic.validate.app.main, classic.validate.app.conf.broker_url)"
)


def test_its_tasks_are_the_projects_apps_whoever_imports_them_first() -> None:
    environment = {"DJANGO_SETTINGS_MODULE": "showcase.settings", "TANDEM_BROKER_URL": "redis://broker.example:6379/7"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["showcase", "redis://broker.example:6379/7"], done.stderr
