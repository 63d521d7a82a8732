"""What a cluster may have left on this machine."""

import re
import subprocess
from pathlib import Path

from local_node import cgroups
from local_node.machine import marked
from local_node.network import Network, links
from local_node.packages import ENVIRONMENT

__all__ = ["leftovers"]


def leftovers(folder: Path, *, identity: str, network: Network | None) -> list[str]:
    """A line for each process, mount, link, route, packet filter rule, cgroup and folder of the cluster."""
    found = [f"process {process.pid} {process.name()}" for process in marked(folder)]
    found += [f"process {pid} in a container" for pid in sorted(cgroups.processes(identity))]
    # Namespaces end with their last process, and their mounts with them: what is seen here is in the machine's own.
    mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    found += [f"mount {mount}" for mount in mounts if Path(mount).is_relative_to(folder)]
    found += [f"link {name}" for name in sorted(links()) if name == identity]
    if network is not None:
        address = re.compile(rf"(?<![\d.]){re.escape(network.all.removesuffix('0.0/16'))}")
        for kind, command in (("route", ["ip", "route", "show", "table", "all"]), ("rule", ["iptables-save"])):
            answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30, env=ENVIRONMENT)
            found += [f"{kind} {line}" for line in answer.stdout.splitlines() if address.search(line)]
    found += [f"cgroup {path}" for path in cgroups.left(identity)]
    return found + ([f"folder {folder}"] if folder.exists() else [])
