"""A stage for each module of tests of the Celery engine, cleared between tests."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.celery_work.stage import Stage, stage

__all__ = ["celery", "set_stage"]


@pytest.fixture(scope="module")
def set_stage(addresses: Any, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with django_db_blocker.unblock(), stage(tmp_path_factory.mktemp("celery")) as made:
        yield made


@pytest.fixture
def celery(set_stage: Stage) -> Iterator[Stage]:
    set_stage.clear()
    yield set_stage
    set_stage.clear()
