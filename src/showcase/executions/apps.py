"""The pages of executions, whichever app's tasks they run."""

from django.apps import AppConfig

__all__ = ["ExecutionsConfig"]


class ExecutionsConfig(AppConfig):
    name = "showcase.executions"
    label = "executions"
    verbose_name = "Executions"
