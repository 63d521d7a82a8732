"""A cluster on this machine: one control plane, a node or more, a pool of volumes, a name server, KEDA."""

import hashlib
import json
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from local_node import cgroups, images, volumes
from local_node.controlplane import ControlPlane
from local_node.errors import NodeError
from local_node.keda import PROGRAMS as KEDA
from local_node.keda import kustomization
from local_node.leftovers import leftovers
from local_node.machine import Machine, end
from local_node.network import Network, connect, disconnect, free, used
from local_node.packages import require, require_root
from local_node.programs import program
from local_node.waiting import step
from local_node.worker import Worker

__all__ = ["DEFAULT_FOLDER", "Cluster"]

DEFAULT_FOLDER: Final = Path("/var/tmp/tandem-local-node")
# Nodes see folders of their own in the place of these.
HIDDEN: Final = tuple(map(Path, ("/run", "/var/run", "/var/lib", "/var/log", "/proc", "/sys", "/dev")))
VOLUMES: Final = 16
READY_SECONDS: Final = 180
KUBECTL_SECONDS: Final = 240
MANIFESTS: Final = Path(__file__).parent / "manifests"


class Cluster:
    """The cluster whose every file is in `folder`: the constructor finds one that runs, `start` makes one.

    As a context manager it is taken down at the end.
    """

    def __init__(self, folder: Path = DEFAULT_FOLDER) -> None:
        self.folder = folder.resolve()
        # Names what this machine sees of it: a link (15 characters at most) and cgroups.
        self.identity = f"local-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]}"

    @classmethod
    def start(cls, folder: Path = DEFAULT_FOLDER, *, nodes: int = 1, keda: bool = False, keep: bool = False) -> Self:
        """Take down what an earlier cluster in `folder` has left, bring up a new one, and return when it is ready.

        Raises:
            NodeError: this machine lacks something, or a part is not ready in time. What has started is taken down
                again, unless `keep`.

        """
        cluster = cls(folder)
        if any(cluster.folder.is_relative_to(hidden) for hidden in HIDDEN):
            raise NodeError(f"{cluster.folder}: a node does not see it there. Choose another folder, say in /var/tmp.")
        require()
        cluster.stop()
        try:
            with step("cluster ready"):
                cluster._start(nodes=nodes, keda=keda)
        except BaseException as error:
            if isinstance(error, NodeError):
                cluster._diagnose()
            if not keep:
                cluster.stop()
            raise
        return cluster

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def kubeconfig(self) -> Path:
        """For a user who may do everything."""
        return self._control.folder / "admin.kubeconfig"

    @property
    def workers(self) -> list[Worker]:
        """The nodes, the one with the control plane first."""
        found = sorted(int(path.parent.name.removeprefix("node-")) for path in self.folder.glob("node-*/pid"))
        return [self._worker(index) for index in found]

    @property
    def logs(self) -> list[Path]:
        """What each program of each node printed; containers' logs are in `node-<n>/log/pods`."""
        return sorted(self.folder.glob("node-*/logs/*.log"))

    def kubectl(self, *arguments: str | Path, content: str | None = None) -> str:
        """Run kubectl with `content` on its standard input, and answer what it printed.

        Raises:
            NodeError: it failed; with its own words.

        """
        command = [program("kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        answer = subprocess.run(
            command, check=False, input=content, capture_output=True, text=True, timeout=KUBECTL_SECONDS
        )
        if answer.returncode != 0:
            raise NodeError(f"kubectl {' '.join(map(str, arguments))}: {answer.stderr.strip()}")
        return answer.stdout

    def load(self, *archives: Path) -> None:
        """Import image archives (docker's form or OCI's) into every node.

        Raises:
            NodeError: a node refuses one; with its words.

        """
        for archive in archives:
            for worker in self.workers:
                worker.load(archive)

    def add_node(self) -> str:
        """Add a node with the images of the first one; answers its name once it is ready.

        Raises:
            NodeError: it is not ready in time.

        """
        first = self.workers[0]
        worker = self._worker(len(self.workers) + 1)
        name = worker.machine.name
        with step(f"{name} Ready"):
            self._start_machine(worker, first=first.machine)
            worker.start_containers()
            worker.copy_images(first)
            worker.start_node()
            self._await_node(name)
        return name

    def recycle_volumes(self) -> list[str]:
        """Empty the volumes whose claims are gone and put them back into the pool; answers their names."""
        names = volumes.released(self.kubectl("get", "persistentvolumes", "--output=json"))
        if names:
            self.kubectl("delete", "persistentvolumes", *names)
            self._apply([self._clean_volume(name) for name in names])
        return names

    def stop(self) -> None:
        """End everything of this cluster, also of one that crashed, and remove its folder.

        Raises:
            NodeError: something is left; names all of it. Or `folder` holds something else.

        """
        require_root()
        if self.folder.exists() and any(self.folder.iterdir()) and not self._settings.exists():
            raise NodeError(f"{self.folder} holds something other than a cluster: choose another folder.")
        network = self._network if self._settings.exists() else None
        end(self.folder)
        disconnect(self.identity)
        cgroups.remove(self.identity)
        if self.folder.exists():
            # The settings go last: a folder without them is taken for somebody else's.
            for path in sorted(self.folder.iterdir(), key=self._settings.__eq__):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.folder.rmdir()
        if left := leftovers(self.folder, identity=self.identity, network=network):
            raise NodeError("Left behind:\n" + "\n".join(left))

    @property
    def _settings(self) -> Path:
        return self.folder / "cluster.json"

    @cached_property
    def _network(self) -> Network:
        try:
            return Network(**json.loads(self._settings.read_text()))
        except FileNotFoundError as error:
            raise NodeError(f"No cluster in {self.folder}: python -m local_node up --folder {self.folder}") from error

    @cached_property
    def _control(self) -> ControlPlane:
        return ControlPlane(folder=self.folder / "control", machine=self._machine(1), network=self._network)

    def _machine(self, index: int) -> Machine:
        return Machine(folder=self.folder / f"node-{index}", index=index)

    def _worker(self, index: int) -> Worker:
        machine = self._machine(index)
        return Worker(machine=machine, control=self._control, cgroup=f"{self.identity}/{machine.name}")

    def _start(self, *, nodes: int, keda: bool) -> None:
        programs = ["pause", "coredns", *(KEDA if keda else [])]
        archives = [images.archive(name) for name in programs]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.__dict__.pop("_network", None)
        self.__dict__.pop("_control", None)
        self._settings.write_text(json.dumps({"number": free(used()).number}))
        first = self._worker(1)
        with step("control plane ready"):
            self._start_machine(first, first=first.machine)
            self._control.prepare()
            server = self._control.start_server()
            first.start_containers()
            self._control.await_server(server)
        with step(f"{first.machine.name} Ready"):
            self._control.start_controllers()
            first.start_node()
            self.load(*archives)
            self._await_node(first.machine.name)
        for _ in range(1, nodes):
            self.add_node()
        self._install(keda=keda)

    def _start_machine(self, worker: Worker, *, first: Machine) -> None:
        cgroups.create(worker.cgroup)
        worker.machine.start()
        connect(self._network, link=self.identity, first=first, node=worker.machine)

    def _install(self, *, keda: bool) -> None:
        pool = [self._clean_volume(f"volume-{number:02}") for number in range(1, VOLUMES + 1)]
        self._apply([volumes.storage_class(), *pool])
        manifest = (MANIFESTS / "coredns.yaml").read_text()
        manifest = manifest.replace("IMAGE", images.name("coredns")).replace("ADDRESS", self._network.dns)
        self.kubectl("apply", "--server-side", "--filename=-", content=manifest)
        if keda:
            manifest = self.kubectl("kustomize", kustomization(self.folder / "keda", node=self._machine(1).name))
            self.kubectl("apply", "--server-side", "--filename=-", content=manifest)
        with step("name server ready"):
            self._await("Available", "--namespace=kube-system", "deployment/coredns")
        if keda:
            with step("KEDA ready"):
                # The operator starts again once it has made its certificates; without them this is not available.
                self._await("Available", "apiservice/v1beta1.external.metrics.k8s.io")
                self._await("Available", "--namespace=keda", "deployment", "--all")

    def _clean_volume(self, name: str) -> dict[str, Any]:
        folder = self.folder / "volumes" / name
        volumes.clean(folder)
        return volumes.volume(folder)

    def _apply(self, items: list[dict[str, Any]]) -> None:
        content = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self.kubectl("apply", "--server-side", "--filename=-", content=content)

    def _await_node(self, name: str) -> None:
        self.kubectl("wait", "--for=create", f"--timeout={READY_SECONDS}s", f"node/{name}")
        self._await("Ready", f"node/{name}")

    def _await(self, condition: str, *what: str) -> None:
        self.kubectl("wait", f"--for=condition={condition}", f"--timeout={READY_SECONDS}s", *what)

    def _diagnose(self) -> None:
        """Say on standard error what there is to be seen of a start that failed."""
        for worker in self.workers:
            for log in sorted((worker.machine.folder / "logs").glob("*.log")):
                print(f"== {log}\n{worker.machine.tail(log.stem)}", file=sys.stderr)
        for what in ("nodes,pods", "events"):
            try:
                print(self.kubectl("get", what, "--all-namespaces", "--output=wide"), file=sys.stderr)
            except (NodeError, subprocess.TimeoutExpired) as error:
                print(error, file=sys.stderr)
