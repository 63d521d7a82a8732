"""The cgroups below which a cluster's containers live, in version 1 and in version 2."""

from pathlib import Path
from typing import Final

from local_node.waiting import until

__all__ = ["create", "hierarchies", "left", "processes", "remove"]

CONTROLLERS: Final = ("cpu", "cpuset", "memory", "pids")
EMPTY_SECONDS: Final = 20


def hierarchies() -> list[Path]:
    """Where the kernel shows its cgroups: one folder in version 2, one for each controller in version 1."""
    rows = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [Path(row[4]) for row in rows if row[row.index("-") + 1] in {"cgroup", "cgroup2"}]


def create(name: str) -> None:
    """Make the group, a path, in every hierarchy, with every controller that kubelet hands on."""
    for hierarchy in hierarchies():
        parent = hierarchy
        for part in Path(name).parts:
            offered = parent / "cgroup.controllers"
            if offered.exists() and set(CONTROLLERS) <= set(offered.read_text().split()):
                (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in CONTROLLERS))
            group = parent / part
            group.mkdir(exist_ok=True)
            # Version 1 takes no process into a group without processors and memory nodes of its own.
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (hierarchy / file).exists() and (hierarchy / "cgroup.clone_children").exists():
                    (group / file).write_text((parent / file).read_text())
            parent = group


def left(name: str) -> list[Path]:
    """The group and all below it, deepest first."""
    found: list[Path] = []
    for hierarchy in hierarchies():
        group = hierarchy / name
        if group.exists():
            found += [path for path in sorted(group.rglob("*"), reverse=True) if path.is_dir()]
            found.append(group)
    return found


def processes(name: str) -> set[int]:
    """The processes in the group and below it."""
    found: set[int] = set()
    for group in left(name):
        try:
            found |= {int(line) for line in (group / "cgroup.procs").read_text().split()}
        except OSError:  # It went away while it was read.
            continue
    return found


def remove(name: str) -> None:
    """Remove the group and all below it, once the kernel has let go of their last processes.

    Raises:
        NodeError: some process is still in there.

    """

    def probe() -> str | None:
        for group in left(name):
            try:
                group.rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                return str(error)
        return None

    until(probe, what=f"removing the cgroups {name}", seconds=EMPTY_SECONDS)
