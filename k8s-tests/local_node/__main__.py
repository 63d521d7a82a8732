"""`python -m local_node`: bring a cluster up or down, load images, show it, install what it needs."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from local_node import cgroups, packages
from local_node.cluster import DEFAULT_FOLDER, Cluster
from local_node.errors import NodeError
from local_node.machine import marked
from local_node.waiting import step

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; answers the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options) or 0)
    except (NodeError, OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1


def _up(options: argparse.Namespace) -> None:
    cluster = Cluster.start(options.folder, nodes=options.nodes, keda=options.keda, keep=True)
    print(cluster.kubeconfig)


def _down(options: argparse.Namespace) -> None:
    with step("nothing left"):
        Cluster(options.folder).stop()


def _load(options: argparse.Namespace) -> None:
    cluster = Cluster(options.folder)
    for archive in options.archives:
        with step(f"{archive.name} loaded"):
            cluster.load(archive)


def _add(options: argparse.Namespace) -> None:
    Cluster(options.folder).add_node()


def _recycle(options: argparse.Namespace) -> None:
    print("\n".join(Cluster(options.folder).recycle_volumes()))


def _status(options: argparse.Namespace) -> None:
    cluster = Cluster(options.folder)
    print(cluster.kubectl("get", "nodes,pods", "--all-namespaces", "--output=wide"))
    running = {process.pid for process in marked(cluster.folder)} | cgroups.processes(cluster.identity)
    bytes_used = 0
    for pid in running:
        try:
            bytes_used += psutil.Process(pid).memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    print(f"{len(running)} processes, {bytes_used / 2**20:.0f} MiB\n{cluster.kubeconfig}")


def _packages(options: argparse.Namespace) -> int:
    lacking = packages.missing({**packages.NODE, **packages.IMAGES})
    if lacking and options.install:
        packages.install(lacking)
        lacking = packages.missing({**packages.NODE, **packages.IMAGES})
    print(f"Missing: {', '.join(lacking)}" if lacking else "Nothing is missing.")
    return 1 if lacking else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_node", description=__doc__)
    commands = parser.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="all files (%(default)s)")
    up = commands.add_parser("up", parents=[common], help="start a new cluster; prints the kubeconfig's path last")
    up.add_argument("--nodes", type=int, default=1, help="(%(default)s)")
    up.add_argument("--keda", action="store_true", help="with KEDA")
    up.set_defaults(command=_up)
    load = commands.add_parser("load", parents=[common], help="import image archives into every node")
    load.add_argument("archives", type=Path, nargs="+", metavar="ARCHIVE")
    load.set_defaults(command=_load)
    for name, command, words in (
        ("down", _down, "end the cluster and check that nothing is left"),
        ("add", _add, "add a node"),
        ("recycle", _recycle, "put volumes whose claims are gone back into the pool, empty"),
        ("status", _status, "show nodes, pods and the memory used"),
    ):
        commands.add_parser(name, parents=[common], help=words).set_defaults(command=command)
    needs = commands.add_parser("packages", help="list the Debian packages that are missing")
    needs.add_argument("--install", action="store_true", help="install them")
    needs.set_defaults(command=_packages)
    return parser


if __name__ == "__main__":
    sys.exit(main())
