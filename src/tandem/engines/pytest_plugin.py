"""For pytest, which finds this by the distribution's entry point: no test sees what another one enqueued in memory."""

import sys
from collections.abc import Iterator

import pytest

__all__: list[str] = []


@pytest.fixture(autouse=True)
def _tandem_forgets() -> Iterator[None]:
    """Forget, after each test, what the stub and the immediate engine kept."""
    yield
    # A test that never used a backend has nothing to forget, and may have no settings.
    if (factory := sys.modules.get("tandem.engines.factory")) is not None:
        factory.forget_results()
