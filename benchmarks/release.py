"""The last release's tree, as the cluster's tests have it."""

import sys
from pathlib import Path

from benchmarks.environment import ROOT

sys.path[:0] = [str(ROOT / "k8s-tests"), str(ROOT / "images")]

import released  # noqa: E402  # a program in another folder

__all__ = ["tree"]


def tree(folder: Path) -> Path:
    """Have the tree in `folder`, once."""
    return folder if folder.exists() else released.tree(folder)
