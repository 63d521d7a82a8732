"""Addresses of a cluster, and the links between the machine and its nodes."""

import ipaddress
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from local_node.errors import NodeError
from local_node.machine import Machine
from local_node.packages import ENVIRONMENT

__all__ = ["Network", "connect", "disconnect", "free", "links", "used"]

CHOICES: Final = range(100, 200)
MAXIMUM_NODES: Final = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """All of a cluster's addresses lie in `10.<number>.0.0/16`. Nodes count from 1."""

    number: int

    @property
    def all(self) -> str:
        """Everything: what the machine sends to the first node."""
        return f"10.{self.number}.0.0/16"

    @property
    def host(self) -> str:
        """The machine itself, as the nodes see it."""
        return f"10.{self.number}.0.1"

    @property
    def pods(self) -> str:
        """The pods of all nodes."""
        return f"10.{self.number}.64.0/18"

    @property
    def services(self) -> str:
        """Addresses of Services."""
        return f"10.{self.number}.128.0/17"

    @property
    def api(self) -> str:
        """The Service `kubernetes`: always the first address."""
        return f"10.{self.number}.128.1"

    @property
    def dns(self) -> str:
        """The Service of the cluster's name server."""
        return f"10.{self.number}.128.10"

    def node(self, index: int) -> str:
        """A node's own address."""
        return f"10.{self.number}.0.{10 + index}"

    def pods_of(self, index: int) -> str:
        """The pods of one node."""
        return f"10.{self.number}.{64 + index}.0/24"

    def gateway_of(self, index: int) -> str:
        """The address of a node's bridge, which its pods send to."""
        return f"10.{self.number}.{64 + index}.1"


def free(used: Iterable[str]) -> Network:
    """The first network that touches none of the networks and addresses in `used`.

    Raises:
        NodeError: there is none.

    """
    taken = [ipaddress.ip_network(text, strict=False) for text in used]
    for number in CHOICES:
        network = Network(number=number)
        wanted = ipaddress.IPv4Network(network.all)
        if not any(isinstance(other, ipaddress.IPv4Network) and wanted.overlaps(other) for other in taken):
            return network
    raise NodeError(f"No network 10.{CHOICES[0]}.0.0/16 to 10.{CHOICES[-1]}.0.0/16 is free: see `ip route`.")


def used() -> list[str]:
    """The networks and addresses that this machine has a route to by name; a default route is not one."""
    routes = json.loads(_ip("-json", "-4", "route", "show", "table", "all"))
    return [route["dst"] for route in routes if route["dst"] not in {"default", "0.0.0.0/0"}]


def links() -> set[str]:
    """The names of this machine's links."""
    return {link["ifname"] for link in json.loads(_ip("-json", "link"))}


def connect(network: Network, *, link: str, first: Machine, node: Machine) -> None:
    """Link a new node: the first to this machine by `link`, every further one to the first, which routes for all.

    So the machine itself gets one link and one route, no bridge, no forwarding and no packet filter.

    Raises:
        NodeError: it would be one node too many.

    """
    if node.index > MAXIMUM_NODES:
        raise NodeError(f"{node.name}: a cluster has {MAXIMUM_NODES} nodes at most.")
    address = network.node(node.index)
    node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1")
    if node.index == first.index:
        _ip("link", "add", link, "type", "veth", "peer", "name", "uplink", "netns", str(node.pid))
        _ip("address", "add", f"{network.host}/32", "peer", address, "dev", link)
        _ip("link", "set", link, "up")
        _ip("route", "add", network.all, "via", address, "dev", link, "onlink")
        other = network.host
    else:
        ends = ("netns", str(first.pid), "type", "veth", "peer", "name", "uplink", "netns", str(node.pid))
        _ip("link", "add", node.name, *ends)
        first.run("ip", "link", "set", node.name, "up")
        own = network.node(first.index)
        first.run("ip", "route", "add", address, "dev", node.name, "src", own)
        pods = network.pods_of(node.index)
        first.run("ip", "route", "add", pods, "via", address, "dev", node.name, "onlink", "src", own)
        other = own
    node.run("ip", "address", "add", f"{address}/32", "peer", other, "dev", "uplink")
    node.run("ip", "link", "set", "uplink", "up")
    if node.index != first.index:
        node.run("ip", "route", "add", network.all, "via", other, "dev", "uplink", "onlink")


def disconnect(link: str) -> None:
    """Remove the machine's link; its routes go with it, and so does the other end."""
    if link in links():
        # With its last process a node's end goes, and takes this one along at a moment of the kernel's own choice.
        subprocess.run(["ip", "link", "delete", link], check=False, capture_output=True, timeout=30, env=ENVIRONMENT)
        if link in links():
            raise NodeError(f"The link {link} cannot be removed: try `ip link delete {link}`.")


def _ip(*arguments: str) -> str:
    answer = subprocess.run(
        ["ip", *arguments], check=False, capture_output=True, text=True, timeout=30, env=ENVIRONMENT
    )
    if answer.returncode != 0:
        raise NodeError(f"ip {' '.join(arguments)}: {answer.stderr.strip()}")
    return answer.stdout
