"""Debian packages and what else of this machine the node needs."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from local_node.errors import NodeError

__all__ = ["ENVIRONMENT", "IMAGES", "NODE", "cni_folder", "install", "missing", "require", "require_root"]

# Each package by a file or program of it.
NODE: Final[Mapping[str, str]] = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "socat": "socat",
    "iproute2": "ip",
    "openssl": "openssl",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "util-linux": "nsenter",
}
IMAGES: Final[Mapping[str, str]] = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
# Root may have been given a user's PATH.
SEARCH: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
ENVIRONMENT: Final[Mapping[str, str]] = {**os.environ, "PATH": SEARCH}
CNI_FOLDERS: Final = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
CONTROLLERS: Final = frozenset({"cpu", "cpuset", "memory", "pids"})
INSTALL_SECONDS: Final = 900


def missing(packages: Mapping[str, str] = NODE) -> list[str]:
    """Those of `packages` of which this machine has nothing, wherever it came from."""
    return [name for name, proof in packages.items() if not _found(proof)]


def install(packages: list[str]) -> None:
    """Install Debian packages, waiting for whoever else holds the lock.

    Raises:
        NodeError: somebody other than root runs this.
        subprocess.CalledProcessError: apt-get failed; its own words are on standard error.

    """
    require_root()
    environment = {**ENVIRONMENT, "DEBIAN_FRONTEND": "noninteractive"}
    options = ["-qq", "-o", "DPkg::Lock::Timeout=600"]
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *options, *command], env=environment, check=True, timeout=INSTALL_SECONDS)


def cni_folder() -> Path:
    """Where the network plugins lie."""
    return next((folder for folder in CNI_FOLDERS if (folder / "bridge").exists()), CNI_FOLDERS[0])


def require() -> None:
    """Make sure that a node can run here.

    Raises:
        NodeError: it cannot; names all that is missing.

    """
    require_root()
    if lacking := missing():
        raise NodeError(f"Missing: {', '.join(lacking)}. Install them: python -m local_node packages --install")
    if lacking := _missing_of_kernel():
        raise NodeError(f"The kernel lacks {', '.join(lacking)}: load the modules or use another kernel.")


def require_root() -> None:
    """Make sure that root runs this.

    Raises:
        NodeError: somebody else does.

    """
    if os.geteuid() != 0:
        raise NodeError(
            "A Kubernetes node needs root: containers are made of namespaces, mounts and cgroups. Use sudo."
        )


def _missing_of_kernel() -> list[str]:
    if modprobe := shutil.which("modprobe", path=SEARCH):
        # It fails for what is built in, too: what counts is asked for below.
        subprocess.run([modprobe, "--all", "--quiet", "overlay", "br_netfilter", "veth"], check=False, timeout=60)
    lacking = []
    if "overlay" not in Path("/proc/filesystems").read_text().split():
        lacking.append("overlay file systems (overlay)")
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        lacking.append("netfilter on bridges (br_netfilter)")
    if absent := CONTROLLERS - _controllers():
        lacking.append(f"cgroup controllers {', '.join(sorted(absent))}")
    return lacking


def _controllers() -> set[str]:
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        return set(unified.read_text().split())
    lines = Path("/proc/cgroups").read_text().splitlines()[1:]
    return {name for name, _, _, enabled in map(str.split, lines) if enabled == "1"}


def _found(proof: str) -> bool:
    if proof == NODE["containernetworking-plugins"]:
        return (cni_folder() / "bridge").exists()
    return Path(proof).exists() if proof.startswith("/") else shutil.which(proof, path=SEARCH) is not None
