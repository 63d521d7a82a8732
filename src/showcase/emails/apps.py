"""The emails app."""

from django.apps import AppConfig

__all__ = ["EmailsConfig"]


class EmailsConfig(AppConfig):
    name = "showcase.emails"
    label = "emails"
    verbose_name = "Emails"
    restate_service = "EmailService"
