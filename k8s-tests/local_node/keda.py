"""KEDA from its Go module: three images with its programs, and its own manifests."""

import json
import shutil
from pathlib import Path
from typing import Final

from local_node.images import VERSIONS, name
from local_node.programs import module_folder

__all__ = ["PROGRAMS", "kustomization"]

# The names in its manifests, by program.
PROGRAMS: Final = {
    "keda": "ghcr.io/kedacore/keda",
    "keda-adapter": "ghcr.io/kedacore/keda-metrics-apiserver",
    "keda-admission-webhooks": "ghcr.io/kedacore/keda-admission-webhooks",
}
TEMPLATE: Final = Path(__file__).parent / "manifests" / "keda.yaml"


def kustomization(folder: Path, *, node: str) -> Path:
    """Write into `folder` what `kubectl kustomize` makes KEDA's manifests from; answers the folder.

    Its pods run on `node`, which must have the images.
    """
    source = module_folder("keda", "github.com/kedacore/keda/v2") / "config"
    shutil.copytree(source, folder / "config", copy_function=shutil.copyfile)
    images = [
        {"name": published, "newName": name(program).rpartition(":")[0], "newTag": VERSIONS[program]}
        for program, published in PROGRAMS.items()
    ]
    text = TEMPLATE.read_text().replace("IMAGES", json.dumps(images)).replace("NODE", node)
    (folder / "kustomization.yaml").write_text(text)
    return folder
