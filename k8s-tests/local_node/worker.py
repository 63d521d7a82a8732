"""What makes a machine a node: containerd, kubelet, kube-proxy and the pods' network."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from local_node.controlplane import ControlPlane
from local_node.errors import NodeError
from local_node.images import name as image_name
from local_node.machine import RUN_SECONDS, Machine
from local_node.packages import cni_folder
from local_node.programs import program
from local_node.waiting import until

__all__ = ["Worker"]

CONTAINERD_SECONDS: Final = 30
CONTAINERD: Final = """version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Without it no pod starts where root may not lower the score.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{networks}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """A node's programs; `cgroup` is the parent of its pods' cgroups."""

    machine: Machine
    control: ControlPlane
    cgroup: str

    def start_containers(self) -> None:
        """Start containerd and wait until it answers.

        Raises:
            NodeError: it does not in time; with the end of its log.

        """
        folder = self.machine.folder / "networks"
        self._write("networks/10-pods.conflist", self._pod_network())
        pause = image_name("pause")
        settings = CONTAINERD.format(pause=pause, plugins=cni_folder(), networks=folder)
        (self.machine.folder / "containerd.toml").write_text(settings)
        self.machine.spawn("containerd", ["containerd", "--config", self.machine.folder / "containerd.toml"])

        def probe() -> str | None:
            try:
                self.machine.run("ctr", "version")
            except NodeError as error:
                return f"{error}\n{self.machine.tail('containerd')}"
            return None

        until(probe, what=f"containerd of {self.machine.name} answers", seconds=CONTAINERD_SECONDS)

    def start_node(self) -> None:
        """Start kubelet and kube-proxy; returns at once."""
        name, index = self.machine.name, self.machine.index
        user = self.control.credentials(name, user=f"system:node:{name}", group="system:nodes")
        # Names outside the cluster are not resolved: nothing that is tested here may need them.
        (self.machine.folder / "resolv.conf").write_text("")
        settings = self._write("kubelet.json", self._kubelet())
        command: list[str | Path] = [
            program("kubelet"),
            f"--config={settings}",
            f"--kubeconfig={user}",
            f"--hostname-override={name}",
        ]
        self.machine.spawn("kubelet", [*command, f"--node-ip={self.control.network.node(index)}"])
        settings = self._write("kube-proxy.json", self._proxy())
        self.machine.spawn("kube-proxy", [program("kube-proxy"), f"--config={settings}"])

    def load(self, archive: Path) -> None:
        """Import an image archive, docker's form or OCI's.

        Raises:
            NodeError: containerd refuses it; with its words.

        """
        with archive.open("rb") as content:
            self.machine.run("ctr", "--namespace=k8s.io", "images", "import", "-", stdin=content)

    def images(self) -> list[str]:
        """The names of its images."""
        listed = self.machine.run("ctr", "--namespace=k8s.io", "images", "list", "--quiet").split()
        # The same images are listed by their digests, too.
        return [name for name in listed if not name.startswith("sha256:") and "@sha256:" not in name]

    def copy_images(self, source: "Worker") -> None:
        """Take over the images of another node.

        Raises:
            NodeError: one of the two ends failed; with its words.

        """
        export = ("ctr", "--namespace=k8s.io", "images", "export", "-", *source.images())
        with source.machine.stream(*export, stdout=subprocess.PIPE) as giving:
            self.machine.run("ctr", "--namespace=k8s.io", "images", "import", "-", stdin=giving.stdout)
            _, words = giving.communicate(timeout=RUN_SECONDS)
            if giving.returncode != 0:
                raise NodeError(f"{source.machine.name}: its images cannot be exported: {words.decode()}")

    def _write(self, path: str, content: dict[str, Any]) -> Path:
        target = self.machine.folder / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(content, indent=1))
        return target

    def _pod_network(self) -> dict[str, Any]:
        subnet = self.control.network.pods_of(self.machine.index)
        bridge = {
            "type": "bridge",
            "bridge": "pods",
            "isDefaultGateway": True,
            "hairpinMode": True,
            # Every node has a route to every pod: addresses stay as they are.
            "ipMasq": False,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]]},
        }
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}

    def _kubelet(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.control.authority.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.cgroup}",
            "clusterDNS": [self.control.network.dns],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            # A full disk is the machine's matter: it must not evict pods, nor take images that no registry gives back.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "resolvConf": str(self.machine.folder / "resolv.conf"),
            "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        }

    def _proxy(self) -> dict[str, Any]:
        # Conntrack's limits belong to the machine as a whole and cannot be set from within: zero leaves them alone.
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(self.control.folder / "proxy.kubeconfig")},
            "clusterCIDR": self.control.network.pods,
            "hostnameOverride": self.machine.name,
            "oomScoreAdj": 0,
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
