"""Every fault, in the order in which they are injected.

Missing, and why: a disk that is full, or that loses what it acknowledged (needs a file system of its own); a clock
that jumps (needs the right to set it, and all parts here share one); a network that is slow or loses single packets
(the proxies only pass or cut); a cut between Restate and the service, or between web and a broker; two faults at
once; a machine that is lost with its disk; a cancel or a retry by hand while a fault lasts.
"""

from typing import Final

from tests.chaos.faults import deploys, networks, processes, servers
from tests.chaos.faults.base import Fault

__all__ = ["FAULTS"]

FAULTS: Final[tuple[Fault, ...]] = (*processes.FAULTS, *servers.FAULTS, *networks.FAULTS, *deploys.FAULTS)
