"""Images with one static program each, made without any builder, as archives that containerd imports."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Final

from local_node.packages import NODE
from local_node.programs import FAMILIES, cache, program

__all__ = ["USER", "archive", "name"]

USER: Final = 65532
CERTIFICATES: Final = Path(NODE["ca-certificates"])
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
VERSIONS: Final = {
    "pause": "1",
    "coredns": "1.13.1",
    "keda": "2.20.2",
    "keda-adapter": "2.20.2",
    "keda-admission-webhooks": "2.20.2",
}


def name(program_name: str) -> str:
    """The image's name, under a host that no registry has."""
    return f"localhost/local-node/{program_name}:{VERSIONS[program_name]}"


def archive(program_name: str) -> Path:
    """A docker-archive with the program as `/<name>`, the authorities of this machine, `/tmp` and user 65532.

    It is kept beside the programs and made again when the program is another.
    """
    binary = program(program_name)
    [family] = [family for family in FAMILIES if program_name in family.programs]
    path = cache() / "images" / f"{program_name}-{family.digest}.tar"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    layer = _layer({program_name: binary, "etc/ssl/certs/ca-certificates.crt": CERTIFICATES})
    partial = path.with_suffix(".partial")
    _write(partial, layer, image=name(program_name), entrypoint=f"/{program_name}")
    partial.rename(path)
    return path


def _layer(files: dict[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
        for target, source in files.items():
            member = tarfile.TarInfo(target)
            member.size, member.mode = source.stat().st_size, 0o755
            with source.open("rb") as content:
                tar.addfile(member, content)
    return buffer.getvalue()


def _write(path: Path, layer: bytes, *, image: str, entrypoint: str) -> None:
    layer_name = f"{hashlib.sha256(layer).hexdigest()}.tar"
    configuration = json.dumps(
        {
            "architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine),
            "os": "linux",
            "config": {"Entrypoint": [entrypoint], "User": f"{USER}:{USER}"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    configuration_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = json.dumps([{"Config": configuration_name, "RepoTags": [image], "Layers": [layer_name]}]).encode()
    with tarfile.open(path, "w") as tar:
        for target, content in ((configuration_name, configuration), (layer_name, layer), ("manifest.json", manifest)):
            member = tarfile.TarInfo(target)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
