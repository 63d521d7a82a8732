"""Every fault, in the order in which they are injected. What is not here is said in `MISSING`."""

from typing import Final

from tests.chaos.faults import workers
from tests.chaos.faults.base import Fault

__all__ = ["FAULTS"]

FAULTS: Final[tuple[Fault, ...]] = (*workers.FAULTS,)
