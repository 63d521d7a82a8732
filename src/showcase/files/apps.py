"""The files app: one file of orders, validated, processed, reported."""

from django.apps import AppConfig

__all__ = ["FilesConfig"]


class FilesConfig(AppConfig):
    name = "showcase.files"
    label = "files"
    verbose_name = "Files"
    restate_service = "FileService"
