"""A revision's name, address and hash: what tells one version of a service from the next."""

import hashlib
import json
import re
from typing import Any, Final

from registrar.specification import Endpoint, Specification

__all__ = [
    "GROUP",
    "REVISION",
    "SERVICE",
    "address",
    "digest",
    "object_name",
    "own_address",
    "owner_in",
    "owner_of",
    "revision_of",
]

GROUP: Final = "tandem.dev"
SERVICE: Final = f"{GROUP}/restate-service"
REVISION: Final = f"{GROUP}/revision"

_LENGTH: Final = 10
_ADDRESS: Final = re.compile(
    rf"http://(?P<name>[a-z0-9-]+)-[0-9a-f]{{{_LENGTH}}}\.(?P<namespace>[a-z0-9-]+)\.svc(:|/|$)"
)


def digest(value: Any) -> str:
    """Answer ten hex digits that stand for a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def revision_of(specification: Specification) -> str:
    """Answer the hash of all that makes a revision: the pod template, and how Restate speaks to it."""
    endpoint = specification.endpoint
    return digest(
        {
            "template": specification.template,
            "port": endpoint.port,
            "path": endpoint.path,
            "protocol": endpoint.protocol,
            "additionalHeaders": dict(endpoint.additional_headers),
        }
    )


def object_name(service: str, revision: str) -> str:
    """Answer what a revision's Deployment, Service and ScaledObject are called."""
    return f"{service}-{revision}"


def address(service: str, namespace: str, revision: str, endpoint: Endpoint) -> str:
    """Answer the URI a revision is registered with."""
    return f"http://{object_name(service, revision)}.{namespace}.svc:{endpoint.port}{endpoint.path}"


def own_address(service: str, namespace: str) -> re.Pattern[str]:
    """Match the URIs of a service's revisions, and of no other's; the group `revision` is the hash."""
    return re.compile(
        rf"http://{re.escape(service)}-(?P<revision>[0-9a-f]{{{_LENGTH}}})\.{re.escape(namespace)}\.svc(:|/|$)"
    )


def owner_in(namespace: str, uri: str) -> str | None:
    """Answer the name of the `RestateService` of a namespace that a registered URI is of, `None` for any other."""
    match = _ADDRESS.match(uri)
    return match["name"] if match and match["namespace"] == namespace else None


def owner_of(uri: str) -> str:
    """Say whose a registered URI is, as far as it tells."""
    match = _ADDRESS.match(uri)
    return f"RestateService {match['namespace']}/{match['name']}" if match else "somebody else"
