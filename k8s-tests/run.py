"""`make e2e`: choose a cluster, build and load the images, run the tests, leave nothing behind.

`TANDEM_E2E=current` uses the current context, which must find the images by itself. Otherwise `kind`, where Docker
runs, with `kind-config.yaml`; else a local node, for which root and Debian packages are needed.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "images"))

import build  # noqa: E402  # a program in another folder
import released  # noqa: E402  # as above
from builders import chosen_builder, docker_runs  # noqa: E402  # as above
from local_node import images as node_images  # noqa: E402  # as above
from local_node import keda  # noqa: E402  # as above
from local_node.cluster import Cluster  # noqa: E402  # as above
from local_node.packages import IMAGES, NODE, install, missing  # noqa: E402  # as above
from local_node.programs import program  # noqa: E402  # as above
from project_image import build_project  # noqa: E402  # as above

RELEASES: Final = ("1", "2")
# With the project all that an upgrade changes: a new image of the one PostgreSQL is an outage of it.
ROLLED: Final = ("registrar", "restate", "redis")
KIND: Final = "tandem-e2e"
# Always the same: what a run that was killed left there is taken down by the next.
NODE_FOLDER: Final = Path("/var/tmp/tandem-e2e")  # a node does not see what is under /tmp
SECONDS: Final = 3600


def main() -> int:
    """Run the tests with the options that pytest takes; answers its exit status."""
    started = time.monotonic()
    # To be taken down like Ctrl-C, cluster and all.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = choose()
    print(f"The cluster: {chosen}.", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="tandem-e2e.", dir="/var/tmp") as folder,
        cluster(chosen, release_tree(Path(folder))) as environment,
    ):
        print(f"The cluster is ready after {time.monotonic() - started:.0f} s.", flush=True)
        environment["TANDEM_E2E_RELEASED"] = str(Path(folder) / "released")
        command = [sys.executable, "-m", "pytest", "--config-file", ROOT / "k8s-tests" / "pytest.ini", *sys.argv[1:]]
        code = subprocess.run(
            [str(word) for word in command], cwd=ROOT / "k8s-tests", env={**os.environ, **environment}, check=False
        ).returncode
    print(f"{time.monotonic() - started:.0f} s in all.", flush=True)
    return code


def release_tree(folder: Path) -> Path:
    """Have the tree of the last release in `folder`, for the long tests, before anything is built or started."""
    if "--short" not in sys.argv:
        released.tree(folder / "released")
    return folder


def choose() -> str:
    """Which cluster: what `TANDEM_E2E` says, else kind where Docker runs, else a local node."""
    wanted = os.environ.get("TANDEM_E2E", "")
    if wanted not in {"", "current", "kind", "local-node"}:
        raise SystemExit(f"TANDEM_E2E is {wanted!r}; it may be current, kind or local-node.")
    if wanted:
        return wanted
    return "kind" if shutil.which("kind") and docker_runs() else "local-node"


@contextlib.contextmanager
def cluster(chosen: str, folder: Path) -> Iterator[dict[str, str]]:
    """Have the chosen cluster with the images loaded; gives the environment of the tests."""
    tools = {"TANDEM_E2E": chosen, "TANDEM_E2E_HELM": str(tool("helm")), "TANDEM_E2E_KUBECTL": str(tool("kubectl"))}
    if chosen == "current":
        yield {**tools, "KUBECONFIG": os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")}
    elif chosen == "kind":
        yield from on_kind(folder, tools)
    else:
        if lacking := missing({**NODE, **IMAGES}):
            install(lacking)
        archives = [*images(folder / "images"), *images_of_the_release(folder)]
        with Cluster.start(NODE_FOLDER, keda=True) as node:
            node.load(*archives)
            shutil.rmtree(folder / "images")
            yield {**tools, "KUBECONFIG": str(node.kubeconfig), "TANDEM_E2E_FOLDER": str(node.folder)}


def on_kind(folder: Path, tools: dict[str, str]) -> Iterator[dict[str, str]]:
    """Make a kind cluster, and delete it."""
    kubeconfig = folder / "kubeconfig"
    common = ["--name", KIND, "--kubeconfig", str(kubeconfig)]
    subprocess.run(
        ["kind", "create", "cluster", *common, "--config", str(ROOT / "kind-config.yaml")], check=True, timeout=SECONDS
    )
    try:
        for archive in [
            *images(folder / "images"),
            *images_of_the_release(folder),
            *map(node_images.archive, keda.PROGRAMS),
        ]:
            subprocess.run(["kind", "load", "image-archive", "--name", KIND, str(archive)], check=True, timeout=SECONDS)
        install_keda(folder, Path(tools["TANDEM_E2E_KUBECTL"]), kubeconfig)
        yield {**tools, "KUBECONFIG": str(kubeconfig)}
    finally:
        subprocess.run(["kind", "delete", "cluster", *common], check=True, timeout=SECONDS)


def install_keda(folder: Path, kubectl: Path, kubeconfig: Path) -> None:
    """Install KEDA as on the local node, and wait until it scales."""

    def run(*words: str | Path, content: bytes | None = None) -> bytes:
        command = [kubectl, f"--kubeconfig={kubeconfig}", *words]
        return subprocess.run(command, check=True, input=content, stdout=subprocess.PIPE, timeout=SECONDS).stdout

    manifest = run("kustomize", keda.kustomization(folder / "keda", node=f"{KIND}-worker"))
    run("apply", "--server-side", "--filename=-", content=manifest)
    wait = ("wait", "--for=condition=Available", "--timeout=180s")
    run(*wait, "--namespace=keda", "deployment", "--all")
    run(*wait, "apiservice/v1beta1.external.metrics.k8s.io")


def images(folder: Path) -> list[Path]:
    """Build every image, a second release of those that roll, and two of a project of its own; answers their archives."""
    build.main(["--quiet", "--save", str(folder)])
    builder = chosen_builder()
    archives = sorted(path for path in folder.glob("*.tar") if path.stem != "showcase")

    def release(name: str, tag: str, context: Path, *options: str) -> None:
        (context / "RELEASE").write_text(tag)
        reference, path = f"localhost/tandem/{name}:{tag}", folder / f"{name}-{tag}.tar"
        file = str(context / "Dockerfile")
        builder.run(builder.build(["--quiet", "--file", file, "--tag", reference, *options, str(context)]))
        builder.run(builder.save(reference, path))
        archives.append(path)

    for name in ROLLED:
        context = folder / f"{name}-{RELEASES[1]}"
        context.mkdir()
        (context / "Dockerfile").write_text(
            f"FROM localhost/tandem/{name}:{build.version()}\nLABEL release={RELEASES[1]}\n"
        )
        release(name, RELEASES[1], context)
    for tag in RELEASES:
        reference = build_project(builder, folder / f"project-{tag}", tag)
        path = folder / f"project-{tag}.tar"
        builder.run(builder.save(reference, path))
        archives.append(path)
    return archives


def images_of_the_release(folder: Path) -> list[Path]:
    """Build what the long tests upgrade from, in `folder`; answers the archives, none where they are left out."""
    if "--short" in sys.argv:
        return []
    started = time.monotonic()
    version, commit = released.named()
    archives = released.images(chosen_builder(), folder / "released", folder / "images" / "released")
    print(f"Built the release {version} of {commit[:12]} in {time.monotonic() - started:.0f} s.", flush=True)
    return archives


def tool(name: str) -> Path:
    """A program of that name on the PATH, else the one that is built for the local node."""
    found = shutil.which(name)
    return Path(found) if found else program(name)


if __name__ == "__main__":
    sys.exit(main())
