"""etcd, the API server, the controller manager and the scheduler: they run in the first node's namespaces."""

import ssl
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_node.certificates import Authority, kubeconfig, signing_key
from local_node.errors import NodeError
from local_node.machine import Machine
from local_node.network import Network
from local_node.programs import program
from local_node.waiting import until

__all__ = ["ControlPlane"]

PORT: Final = 6443
START_SECONDS: Final = 120
PROBE_SECONDS: Final = 2
ETCD: Final = "http://127.0.0.1:2379"
# The usual 15 s would be the longest part of a test that scales.
AUTOSCALER_PERIOD: Final = "2s"


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlPlane:
    """One of each program; `folder` holds the certificates and kubeconfigs."""

    folder: Path
    machine: Machine
    network: Network

    @property
    def server(self) -> str:
        """Where the API answers, to this machine, to nodes and to pods."""
        return f"https://{self.network.node(self.machine.index)}:{PORT}"

    @property
    def authority(self) -> Authority:
        """Issues the certificates of servers and clients."""
        return Authority(folder=self.folder, name="ca")

    def credentials(self, name: str, *, user: str, group: str = "") -> Path:
        """A kubeconfig with a new certificate for `user` in `group`."""
        path = self.folder / f"{name}.kubeconfig"
        client = self.authority.issue(name, user=user, group=group)
        kubeconfig(path, server=self.server, authority=self.authority.certificate, client=client)
        return path

    def prepare(self) -> None:
        """Make what the programs prove themselves with; the user's own kubeconfig is `admin`."""
        address = self.network.node(self.machine.index)
        authority = Authority.create(self.folder, "ca")
        names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
        hosts = (*names, "localhost", "127.0.0.1", self.network.api, address)
        authority.issue("server", user="kube-apiserver", hosts=hosts)
        authority.issue("to-kubelet", user="kube-apiserver", group="system:masters")
        # Of its own: who holds a certificate from it may speak for anybody.
        Authority.create(self.folder, "front-proxy-ca").issue("front-proxy", user="front-proxy")
        signing_key(self.folder / "tokens.key")
        self.credentials("admin", user="admin", group="system:masters")
        self.credentials("controller-manager", user="system:kube-controller-manager")
        self.credentials("scheduler", user="system:kube-scheduler")
        self.credentials("proxy", user="system:kube-proxy")

    def start_server(self) -> subprocess.Popen[bytes]:
        """Start etcd, and the API server, which waits for it; answers the latter."""
        command: list[str | Path] = [
            program("etcd"),
            "--data-dir=/var/lib/etcd",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]
        command += [f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}"]
        self.machine.spawn("etcd", [*command, "--listen-peer-urls=http://127.0.0.1:2380"])
        return self.machine.spawn("kube-apiserver", self._api_server())

    def await_server(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the API server is ready.

        Raises:
            NodeError: it is not in time, or has ended; with the end of its log.

        """
        context = ssl.create_default_context(cafile=str(self.authority.certificate))

        def probe() -> str | None:
            if (status := process.poll()) is not None:
                raise NodeError(f"The API server ended with status {status}.")
            try:
                with urllib.request.urlopen(f"{self.server}/readyz", timeout=PROBE_SECONDS, context=context):
                    return None
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                return str(error)

        try:
            until(probe, what="the API server is ready", seconds=START_SECONDS)
        except NodeError as error:
            ends = "\n".join(self.machine.tail(name) for name in ("etcd", "kube-apiserver"))
            raise NodeError(f"{error}\n{ends}") from error

    def start_controllers(self) -> None:
        """Start the controller manager and the scheduler."""
        controllers = self.folder / "controller-manager.kubeconfig"
        command: list[str | Path] = [
            program("kube-controller-manager"),
            f"--kubeconfig={controllers}",
            "--leader-elect=false",
        ]
        command += [f"--root-ca-file={self.authority.certificate}", "--use-service-account-credentials=true"]
        command += [f"--service-account-private-key-file={self.folder / 'tokens.key'}"]
        # The nodes' networks are given to their bridges: no controller hands out addresses.
        command += ["--allocate-node-cidrs=false", f"--horizontal-pod-autoscaler-sync-period={AUTOSCALER_PERIOD}"]
        self.machine.spawn("kube-controller-manager", command)
        scheduler = self.folder / "scheduler.kubeconfig"
        command = [program("kube-scheduler"), f"--kubeconfig={scheduler}", "--leader-elect=false"]
        self.machine.spawn("kube-scheduler", command)

    def _api_server(self) -> list[str | Path]:
        folder = self.folder
        options = {
            "etcd-servers": ETCD,
            "advertise-address": self.network.node(self.machine.index),
            "secure-port": PORT,
            "service-cluster-ip-range": self.network.services,
            "allow-privileged": "true",
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "client-ca-file": self.authority.certificate,
            "tls-cert-file": folder / "server.crt",
            "tls-private-key-file": folder / "server.key",
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": folder / "tokens.key",
            "service-account-signing-key-file": folder / "tokens.key",
            "kubelet-client-certificate": folder / "to-kubelet.crt",
            "kubelet-client-key": folder / "to-kubelet.key",
            # Nothing resolves the names of nodes.
            "kubelet-preferred-address-types": "InternalIP",
            "requestheader-client-ca-file": folder / "front-proxy-ca.crt",
            "requestheader-allowed-names": "front-proxy",
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "proxy-client-cert-file": folder / "front-proxy.crt",
            "proxy-client-key-file": folder / "front-proxy.key",
            "enable-aggregator-routing": "true",
        }
        return [program("kube-apiserver"), *(f"--{name}={value}" for name, value in options.items())]
