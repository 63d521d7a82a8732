"""The platform on a cluster as the tests use it: kubectl, Helm, the two charts, and what runs on them."""

import contextlib
import json
import os
import re
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["CHARTS", "ROOT", "VERSION", "CommandError", "Installation", "Kubernetes", "until"]

ROOT: Final = Path(__file__).resolve().parent.parent
CHARTS: Final = ROOT / "charts"
VERSION: Final = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
KIND: Final = ("--set=networkPolicies.enabled=false", '--set-json=media.accessModes=["ReadWriteOnce"]')
COMMAND_SECONDS: Final = 600
PATIENCE: Final = 180.0


class CommandError(RuntimeError):
    """kubectl or Helm failed; the message is what it printed."""


def until[T](
    condition: Callable[[], T], what: str | Callable[[], str], *, patience: float = PATIENCE, every: float = 0.5
) -> T:
    """Ask until `condition` answers something true; fails with `what` when patience is over."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Waited {patience:g} s in vain: {what() if callable(what) else what}")
        time.sleep(every)
    return found


@dataclass(frozen=True, kw_only=True)
class Kubernetes:
    """A cluster behind `kubeconfig`, seen by the two programs that people use."""

    kubeconfig: Path
    kubectl_program: Path
    helm_program: Path

    def run(
        self, command: Sequence[str | Path], *, content: str | None = None, seconds: float = COMMAND_SECONDS
    ) -> str:
        """Run a program with this cluster's configuration; answers its standard output.

        Raises:
            CommandError: it failed.

        """
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        answer = subprocess.run(
            [str(word) for word in command],
            check=False,
            input=content,
            capture_output=True,
            text=True,
            env=environment,
            timeout=seconds,
        )
        if answer.returncode != 0:
            raise CommandError(f"{' '.join(map(str, command))}\n{answer.stdout}{answer.stderr}")
        return answer.stdout

    def kubectl(self, *words: str | Path, content: str | None = None) -> str:
        """Run kubectl."""
        return self.run([self.kubectl_program, *words], content=content)

    def helm(self, *words: str | Path) -> str:
        """Run Helm."""
        return self.run([self.helm_program, *words])

    def get(self, kind: str, *words: str, namespace: str) -> Any:
        """Read objects as JSON: one by its name, else all as a list."""
        return json.loads(self.kubectl("get", kind, *words, f"--namespace={namespace}", "--output=json"))


@dataclass(kw_only=True)
class Installation:
    """The two charts in namespaces of their own; `release` is `tandem`."""

    kubernetes: Kubernetes
    namespace: str = "tandem"
    registrar_namespace: str = "tandem-registrar"
    release: str = "tandem"
    image: str = "localhost/tandem/project"
    tag: str = "1"
    charts: Path = CHARTS
    registrar_image: str = "localhost/tandem/registrar"
    values: Path = ROOT / "k8s-tests" / "values.yaml"
    project_values: Path = ROOT / "k8s-tests" / "project" / "values.yaml"

    def prepare(self, *, registrar: bool = True) -> None:
        """Make the namespaces, where nothing but pods of the restricted profile may run, and the trial's mail server."""
        for name in (self.namespace, self.registrar_namespace) if registrar else (self.namespace,):
            namespace = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            }
            self.kubernetes.kubectl("apply", "--filename=-", content=json.dumps(namespace))
        self.kubernetes.kubectl("apply", f"--namespace={self.namespace}", "--filename=-", content=INBOX)

    def install_registrar(self, *words: str, tag: str = VERSION) -> str:
        """Install or upgrade the registrar's chart."""
        return self.kubernetes.helm(
            *("upgrade", "--install", "tandem-registrar", self.charts / "tandem-registrar"),
            *(f"--namespace={self.registrar_namespace}", "--wait", "--wait-for-jobs", "--timeout=300s"),
            *(f"--set=image.repository={self.registrar_image}", f"--set-string=image.tag={tag}", *words),
        )

    def install(self, *words: str, tag: str | None = None, wait: bool = True) -> str:
        """Install or upgrade the platform with the tests' values."""
        self.tag = tag or self.tag
        # kind's network holds the policies, and its storage has no volumes that pods share: the tests' own pods have no labels.
        kind = KIND if os.environ.get("TANDEM_E2E") == "kind" else ()
        waiting = ("--wait", "--wait-for-jobs", "--timeout=420s") if wait else ()
        return self.kubernetes.helm(
            *("upgrade", "--install", self.release, self.charts / "tandem", f"--namespace={self.namespace}", *waiting),
            *(f"--values={self.values}", f"--values={self.project_values}"),
            *(f"--set=image.repository={self.image}", f"--set-string=image.tag={self.tag}", *kind, *words),
        )

    def roll_back(self, tag: str) -> None:
        """Go back to the release before, which had the project's image `tag`."""
        self.tag = tag
        self.kubernetes.helm(
            *("rollback", self.release, f"--namespace={self.namespace}", "--wait", "--wait-for-jobs", "--timeout=420s")
        )

    def uninstall(self) -> None:
        """Take the platform away."""
        self._uninstall(self.release, self.namespace)

    def uninstall_registrar(self) -> None:
        """Take the registrar away."""
        self._uninstall("tandem-registrar", self.registrar_namespace)

    def _uninstall(self, release: str, namespace: str) -> None:
        # Not there where a test before has taken it away.
        words = (f"--namespace={namespace}", "--ignore-not-found", "--wait", "--timeout=240s")
        self.kubernetes.helm("uninstall", release, *words)

    def get(self, kind: str, *words: str) -> Any:
        """Read objects of the release's namespace."""
        return self.kubernetes.get(kind, *words, namespace=self.namespace)

    def kubectl(self, *words: str | Path, content: str | None = None) -> str:
        """Run kubectl in the release's namespace."""
        return self.kubernetes.kubectl(f"--namespace={self.namespace}", *words, content=content)

    def pods(self, component: str) -> list[Any]:
        """The pods of a component that are not on their way out."""
        selector = f"app.kubernetes.io/instance={self.release},app.kubernetes.io/component={component}"
        found = self.get("pods", f"--selector={selector}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def failed_probes(self) -> set[str]:
        """The Warning events of processes that were probed before they had started, or said that they end.

        Not of Restate, whose probe asks it each second.
        Not of a startup probe that ended with its pod, which a rollout took back while it started: that one has no words.
        """
        found = self.get("events", "--field-selector=type=Warning,reason=Unhealthy")["items"]
        said = {f"{event['involvedObject']['name']}: {event['message']}" for event in found}
        return {
            each
            for each in said
            if not each.startswith(f"{self.release}-restate-")
            and (("Startup probe" in each and not each.endswith("failed: ")) or "statuscode: 503" in each)
        }

    def manage(self, *words: str) -> str:
        """Run a management command in the relay's pod; answers what it printed."""
        return self.kubectl("exec", f"deployment/{self.release}-relay", "--", "python", "-m", "django", *words)

    def sql(self, query: str) -> list[list[str]]:
        """Ask the release's own PostgreSQL; answers rows of text."""
        answer = self.kubectl(
            *("exec", f"statefulset/{self.release}-postgres", "--"),
            *(
                "sh",
                "-c",
                f'psql --username "$POSTGRES_USER" --no-align --tuples-only --command "{query}" "$POSTGRES_DB"',
            ),
        )
        return [line.split("|") for line in answer.splitlines() if line]

    def enqueue(self, task: str, *arguments: Any, engine: str) -> str:
        """Enqueue one of the project's tasks; answers the execution's id."""
        (execution,) = self.enqueue_many(task, *arguments, engine=engine, number=1)
        return execution

    def enqueue_many(self, task: str, *arguments: Any, engine: str, number: int) -> list[str]:
        """Enqueue as many of them in one go."""
        code = (
            f"from project.work import tasks; task = tasks.{task}.using(engine={engine!r});"
            f" print('\\n'.join(task.enqueue(*{arguments!r}).id for _ in range({number})))"
        )
        return self.manage("shell", "--no-imports", "--command", code).split()

    def phase(self, execution: str) -> str:
        """Where an execution is."""
        return self.sql(f"SELECT phase FROM tandem_execution WHERE id = '{execution}'")[0][0]

    def finished(self, execution: str, *, patience: float = PATIENCE) -> str:
        """Wait until it is over; answers its phase."""

        def over() -> str:
            phase = self.phase(execution)
            return phase if phase in {"succeeded", "failed", "dead", "cancelled"} else ""

        return until(
            over, lambda: f"{execution} is not over: {self.manage('tandem', 'show', execution)}", patience=patience
        )

    def revisions(self) -> list[Any]:
        """The registrar's revisions of the release's service."""
        return list(self.get("restateservice", self.release).get("status", {}).get("revisions", []))

    def start_pod(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None, *, image: str = ""
    ) -> None:
        """Run a command in a pod that is like the relay's, but for its labels and probes, and its image if another is named."""
        pod = json.loads(json.dumps(self.get("deployment", f"{self.release}-relay")["spec"]["template"]["spec"]))
        (container,) = pod["containers"]
        for key in ("livenessProbe", "readinessProbe", "startupProbe", "args", "ports"):
            container.pop(key, None)
        given = [{"name": key, "value": value} for key, value in (environment or {}).items()]
        container["command"] = list(command)
        container["image"] = image or container["image"]
        container["env"] = [*[each for each in container["env"] if each["name"] not in (environment or {})], *given]
        pod |= {"restartPolicy": "Never", "topologySpreadConstraints": []}
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod}
        self.kubectl("delete", "pod", name, "--ignore-not-found", "--wait")
        self.kubectl("create", "--filename=-", content=json.dumps(manifest))

    def pod_phase(self, name: str) -> str:
        """Pending, Running, Succeeded or Failed."""
        return str(self.get("pod", name)["status"].get("phase", ""))

    def output(self, name: str, *, patience: float = 600.0) -> str:
        """Wait until such a pod is over; answers what it printed, and fails where it failed."""
        phase = until(
            lambda: (found := self.pod_phase(name)) in {"Succeeded", "Failed"} and found,
            f"the pod {name} is not over",
            patience=patience,
            every=1.0,
        )
        text = self.kubectl("logs", name)
        assert phase == "Succeeded", text
        return text

    @contextlib.contextmanager
    def forwarded(self, service: str, port: int) -> Iterator[str]:
        """Reach a Service from here; gives its URL."""
        command = [self.kubernetes.kubectl_program, f"--namespace={self.namespace}", "port-forward"]
        with subprocess.Popen(
            [*map(str, command), f"service/{service}", f":{port}"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "KUBECONFIG": str(self.kubernetes.kubeconfig)},
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                found = re.search(r"127\.0\.0\.1:(\d+)", line)
                assert found is not None, line
                yield f"http://127.0.0.1:{found[1]}"
            finally:
                process.terminate()


# The mail server of the trial: everything that is sent can be read there.
INBOX: Final = """
apiVersion: v1
kind: Service
metadata: {name: inbox}
spec:
  selector: {app: inbox}
  ports: [{name: smtp, port: 1025}, {name: http, port: 1080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: inbox}
spec:
  selector: {matchLabels: {app: inbox}}
  template:
    metadata: {labels: {app: inbox}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
      automountServiceAccountToken: false
      containers:
        - name: inbox
          image: localhost/tandem/project:1
          command: [python, -m, tandem.embedded.inbox, --host, 0.0.0.0, --port, "1025", --http-port, "1080"]
          args: [--directory, /tmp/inbox]
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
          readinessProbe: {tcpSocket: {port: 1080}}
          resources: {requests: {cpu: 10m, memory: 48Mi}, limits: {memory: 128Mi}}
          volumeMounts: [{name: tmp, mountPath: /tmp}]
      volumes: [{name: tmp, emptyDir: {}}]
"""
