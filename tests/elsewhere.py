"""A storage whose files are on no disk of this machine, as an object store's are."""

from typing import Any

from django.core.files import File
from django.core.files.storage import InMemoryStorage, Storage

__all__ = ["Elsewhere"]


class Elsewhere(Storage):
    """Keeps files in memory, and has no path for them."""

    def __init__(self) -> None:
        self._kept = InMemoryStorage()

    def _open(self, name: str, mode: str = "rb") -> "File[Any]":
        return self._kept.open(name, mode)

    def _save(self, name: str, content: "File[Any]") -> str:
        return self._kept.save(name, content)

    def delete(self, name: str) -> None:
        """Forget a file."""
        self._kept.delete(name)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return self._kept.exists(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Folders and files of a folder."""
        found: tuple[list[str], list[str]] = self._kept.listdir(path)
        return found
