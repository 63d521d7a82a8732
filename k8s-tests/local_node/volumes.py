"""The pool of volumes: folders of this machine, bound to claims as they come."""

import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

__all__ = ["CLASS", "clean", "storage_class", "volume"]

CLASS: Final = "local"
OWNER: Final = 1000


def storage_class() -> dict[str, Any]:
    """The default class, which nothing provisions: a claim takes a volume of the pool once a pod wants it."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "reclaimPolicy": "Retain",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def volume(folder: Path) -> dict[str, Any]:
    """The volume in `folder`. All nodes see it: they share this machine's disk."""
    everywhere = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": folder.name},
        "spec": {
            "storageClassName": CLASS,
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [everywhere]}]}},
        },
    }


def clean(folder: Path) -> None:
    """Make the folder empty, or make it."""
    shutil.rmtree(folder, ignore_errors=not folder.exists())
    folder.mkdir(parents=True)
    os.chown(folder, OWNER, OWNER)


def released(listed: str) -> list[str]:
    """The names of volumes whose claims are gone, in a list of volumes as JSON."""
    gone = {"Released", "Failed"}
    return [item["metadata"]["name"] for item in json.loads(listed)["items"] if item["status"]["phase"] in gone]
