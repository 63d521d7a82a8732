"""Kept files by path, in a storage on this machine and in one elsewhere."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.test import override_settings

from showcase.uploads import storing

ELSEWHERE = "tests.elsewhere.Elsewhere"
HERE = "django.core.files.storage.FileSystemStorage"


@pytest.fixture(params=[HERE, ELSEWHERE])
def _storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    storages = {
        "default": {"BACKEND": request.param},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    with override_settings(STORAGES=storages, MEDIA_ROOT=tmp_path):
        yield


@pytest.mark.usefixtures("_storage")
def test_what_is_kept_is_read_by_a_path_of_this_machine() -> None:
    owner = uuid4()
    name = storing.save(owner, ContentFile(b"a,b\n1,2\n", name="x.csv"))
    with storing.local(name) as path:
        assert path.read_bytes() == b"a,b\n1,2\n"
    storing.remove(owner)
    with pytest.raises(FileNotFoundError), storing.local(name):
        pass


@pytest.mark.usefixtures("_storage")
def test_a_file_that_is_moved_there_is_gone_here() -> None:
    owner = uuid4()
    with storing.workspace(owner) as folder:
        made = folder / "clean.parquet"
        made.write_bytes(b"PAR1")
        name = storing.move(owner, made)
        assert not made.exists()
    assert name.endswith(".parquet")
    with storing.local(name) as path:
        assert (path.read_bytes(), path.suffix) == (b"PAR1", ".parquet")


@pytest.mark.usefixtures("_storage")
def test_what_no_step_names_is_tidied_away() -> None:
    owner = uuid4()
    kept, left = (storing.save(owner, ContentFile(b"x")) for _ in range(2))
    storing.tidy(owner, keep=[kept])
    with storing.local(kept) as path:
        assert path.read_bytes() == b"x"
    with pytest.raises(FileNotFoundError), storing.local(left):
        pass


def test_a_copy_of_what_is_elsewhere_goes_again() -> None:
    with override_settings(STORAGES={"default": {"BACKEND": ELSEWHERE}}):
        name = storing.save(uuid4(), ContentFile(b"x"))
        with storing.local(name) as path:
            assert path.is_relative_to(tempfile.gettempdir())
        assert not path.exists()
