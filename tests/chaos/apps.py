"""The app whose tasks the chaos suite runs."""

from django.apps import AppConfig

__all__ = ["ChaosConfig"]


class ChaosConfig(AppConfig):
    name = "tests.chaos"
    label = "chaos"
    restate_service = "Chaos"
