"""Files in Django's storage, for code that needs paths.

Whatever is kept gets a new random name. A step that was cut off and runs again therefore writes beside what the first
run left, and what counts is the one that the recorded step names; `tidy` removes the others.
"""

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from uuid import UUID, uuid4

from django.core.files import File
from django.core.files.storage import default_storage

__all__ = ["local", "move", "remove", "save", "tidy", "workspace"]


class _Movable(File):  # type: ignore[type-arg]  # takes none when it runs
    """A file that the storage may take as it is, instead of a copy."""

    def temporary_file_path(self) -> str:
        return str(self.name)


def save(owner: UUID, content: "File[Any] | IO[bytes]") -> str:
    """Keep `content` in the folder of `owner`, and return its name."""
    return default_storage.save(f"{owner}/{uuid4()}", content)


def move(owner: UUID, path: Path) -> str:
    """Keep the file at `path`, which is gone from there afterwards, and return its name."""
    with path.open("rb") as file:
        name = default_storage.save(f"{owner}/{uuid4()}{path.suffix}", _Movable(file, name=str(path)))
    path.unlink(missing_ok=True)
    return name


@contextmanager
def local(name: str) -> Iterator[Path]:
    """Give the path of a kept file: its own, or that of a copy where the storage is elsewhere.

    Raises `FileNotFoundError` where it is not there any more.
    """
    try:
        path = Path(default_storage.path(name))
    except NotImplementedError:
        with tempfile.NamedTemporaryFile(suffix=Path(name).suffix) as copy, default_storage.open(name) as file:
            shutil.copyfileobj(file, copy)
            copy.flush()
            yield Path(copy.name)
        return
    if not path.is_file():
        raise FileNotFoundError(name)
    yield path


@contextmanager
def workspace(owner: UUID) -> Iterator[Path]:
    """Give an empty folder on this machine, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"showcase-{owner}-") as folder:
        yield Path(folder)


def tidy(owner: UUID, *, keep: Collection[str]) -> None:
    """Remove what is kept for `owner` but `keep`, and what killed processes left in folders on this machine."""
    with suppress(FileNotFoundError):
        _, names = default_storage.listdir(str(owner))
        for name in names:
            if f"{owner}/{name}" not in keep:
                default_storage.delete(f"{owner}/{name}")
    for folder in Path(tempfile.gettempdir()).glob(f"showcase-{owner}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def remove(owner: UUID) -> None:
    """Remove all that is kept for `owner`."""
    tidy(owner, keep=())
    # The folder itself, where the storage has such a thing; not if a step that runs has just written into it.
    with suppress(OSError):
        default_storage.delete(str(owner))
