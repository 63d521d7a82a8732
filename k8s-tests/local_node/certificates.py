"""A certificate authority of the cluster's own, and kubeconfigs with certificates from it."""

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Authority", "Certificate", "kubeconfig", "signing_key"]

DAYS: Final = "365"
# Without a section for names OpenSSL asks for them.
SETTINGS: Final = "[req]\ndistinguished_name=names\nprompt=no\n[names]\nCN=unused\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """A certificate and its key, PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Authority:
    """Issues certificates that are kept in `folder`; an authority's own files are `<name>.crt` and `<name>.key`."""

    folder: Path
    name: str

    @classmethod
    def create(cls, folder: Path, name: str) -> "Authority":
        """Make a new authority."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "openssl.cnf").write_text(SETTINGS)
        authority = cls(folder=folder, name=name)
        # Python from 3.13 on refuses an authority that does not say what its key is for.
        extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
        authority._make(name, f"/CN={name}", [*extensions, "subjectKeyIdentifier=hash"])
        return authority

    @property
    def certificate(self) -> Path:
        """What proves this authority's certificates."""
        return self.folder / f"{self.name}.crt"

    def issue(self, name: str, *, user: str, group: str = "", hosts: tuple[str, ...] = ()) -> Certificate:
        """Issue a certificate for client `user` in `group`; with `hosts` (names, addresses) for that server too."""
        names = ",".join(f"IP:{host}" if host.replace(".", "").isdigit() else f"DNS:{host}" for host in hosts)
        extensions = [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            f"extendedKeyUsage=clientAuth{',serverAuth' if hosts else ''}",
            "subjectKeyIdentifier=hash",
            "authorityKeyIdentifier=keyid",
            *([f"subjectAltName={names}"] if hosts else []),
        ]
        subject = f"/O={group}/CN={user}" if group else f"/CN={user}"
        signer = ["-CA", str(self.certificate), "-CAkey", str(self.folder / f"{self.name}.key")]
        return self._make(name, subject, extensions, signer)

    def _make(self, name: str, subject: str, extensions: list[str], signer: list[str] | None = None) -> Certificate:
        made = Certificate(certificate=self.folder / f"{name}.crt", key=self.folder / f"{name}.key")
        command: list[str | Path] = [
            "openssl",
            "req",
            "-x509",
            "-new",
            "-config",
            self.folder / "openssl.cnf",
            "-days",
            DAYS,
            "-nodes",
        ]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-subj", subject, "-keyout", made.key, "-out", made.certificate, *(signer or [])]
        for extension in extensions:
            command += ["-addext", extension]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return made


def signing_key(path: Path) -> None:
    """Make the key that signs the tokens of service accounts."""
    # In the older form: from the newer one the API server reads no public key.
    command: list[str | Path] = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def kubeconfig(path: Path, *, server: str, authority: Path, client: Certificate) -> None:
    """Write a kubeconfig that needs no other file; JSON is YAML too."""
    name = "tandem"
    user = {"client-certificate-data": _base64(client.certificate), "client-key-data": _base64(client.key)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": _base64(authority)}},
        ],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1))


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
