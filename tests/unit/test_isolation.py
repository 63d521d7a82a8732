"""A body's end is its own, whatever tidying after it meets."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.dummy import DummyCache
from django.test import override_settings

from tandem.execution.isolation import apart, run_apart


class Unclosable(DummyCache):
    def close(self, **_: Any) -> None:
        raise OSError("the server is gone")


@pytest.fixture
def unclosable() -> Iterator[None]:
    backend = f"{__name__}.{Unclosable.__name__}"
    with override_settings(CACHES={"default": {"BACKEND": backend}}):
        yield
        del caches["default"]


async def _look() -> Any:
    async with apart():
        return cache.get("x", "nothing")


# What this thread has open of the database is tidied too, and must be open to it.
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("unclosable")
def test_a_cache_that_cannot_be_closed_ends_no_body(caplog: pytest.LogCaptureFixture) -> None:
    assert run_apart(cache.get, "x", "nothing") == "nothing"
    assert asyncio.run(_look()) == "nothing"
    logged = [record.getMessage() for record in caplog.records if record.name == "tandem.runner"]
    assert logged == ["A cache could not be closed."] * 2
