"""The demo site: one Django project whose tasks run on Celery or on Restate. Never part of the wheel."""
