"""Every fault, in the order in which they are injected."""

from typing import Final

from tests.chaos.faults import deploys, networks, processes, servers
from tests.chaos.faults.base import Fault

__all__ = ["FAULTS"]

FAULTS: Final[tuple[Fault, ...]] = (*processes.FAULTS, *servers.FAULTS, *networks.FAULTS, *deploys.FAULTS)
