"""The stub engine: runs nothing, records all; for unit tests of code that enqueues."""

from tandem.engines.base import CAPABILITIES
from tandem.engines.memory import MemoryEngine

__all__ = ["StubEngine"]


class StubEngine(MemoryEngine):
    """`TASKS[...]["OPTIONS"]["ENGINES"] = {"stub": {}}`; read `backend.engines["stub"].results` in the test."""

    name = "stub"
    supports = CAPABILITIES
