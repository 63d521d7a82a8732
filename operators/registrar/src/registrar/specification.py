"""What a user asks for: the `spec` of a `RestateService`, read and checked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

__all__ = [
    "AdminService",
    "DeletionPolicy",
    "Elastic",
    "Endpoint",
    "Fixed",
    "InvalidSpecification",
    "Specification",
    "parse",
]

type DeletionPolicy = Literal["Wait", "Cancel", "LetGo"]
type Protocol = Literal["http2", "http1"]

_ADMIN_PORT: Final = 9070
_SERVICE_PORT: Final = 9080
_HIGHEST_PORT: Final = 65535
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_IN_CLUSTER: Final = re.compile(r"(?P<name>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.svc(\.cluster\.local)?\.?")


class InvalidSpecification(Exception):
    """A field of the spec that the registrar cannot use; the message names it, its value and what is wanted."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """How Restate speaks to a revision. All of it is part of the revision's hash."""

    port: int = _SERVICE_PORT
    path: str = ""
    protocol: Protocol = "http2"
    additional_headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """So many pods, always."""

    replicas: int


@dataclass(frozen=True, kw_only=True)
class Elastic:
    """KEDA sets the number of pods: work at `metrics_url`, divided by `concurrency`. Times are in seconds."""

    minimum: int
    maximum: int
    concurrency: int
    metrics_url: str
    polling_interval: int = 5
    cooldown_period: int = 60
    fallback_replicas: int | None = None


@dataclass(frozen=True, kw_only=True)
class AdminService:
    """The Service of this cluster that an admin API is behind."""

    name: str
    namespace: str


@dataclass(frozen=True, kw_only=True)
class Specification:
    """One checked spec. `drain_delay` and `progress_deadline` are in seconds.

    `admin_service` is `None` where the URL names no Service of this cluster. `take_over` are service names that may be
    taken from whoever has them, `siblings` the `RestateService`s of the namespace that any may be taken from.
    """

    admin_url: str
    admin_service: AdminService | None
    template: Mapping[str, Any]
    scaling: Fixed | Elastic
    endpoint: Endpoint = field(default_factory=Endpoint)
    metadata: Mapping[str, str] = field(default_factory=dict)
    history_limit: int = 3
    drain_delay: int = 300
    progress_deadline: int = 300
    take_over: Sequence[str] = ()
    siblings: Sequence[str] = ()
    deletion_policy: DeletionPolicy = "Wait"


def parse(spec: Mapping[str, Any], *, namespace: str) -> Specification:
    """Read a spec; raises `InvalidSpecification`. `namespace` is where the object itself lies."""
    template = _mapping(spec, "template", "spec")
    pod = _mapping(template, "spec", "spec.template")
    containers = pod.get("containers")
    if not isinstance(containers, list) or not containers:
        raise InvalidSpecification(f"spec.template.spec.containers: {containers!r} is no list of containers: name one")
    admin_url, admin_service = _admin(_mapping(spec, "restate", "spec"), namespace)
    return Specification(
        admin_url=admin_url,
        admin_service=admin_service,
        template=template,
        scaling=_scaling(_mapping(spec, "scaling", "spec")),
        endpoint=_endpoint(spec.get("endpoint") or {}),
        metadata=_strings(spec.get("metadata"), "spec.metadata"),
        history_limit=_whole(spec, "revisionHistoryLimit", "spec", default=3),
        drain_delay=_whole(spec, "drainDelaySeconds", "spec", default=300),
        progress_deadline=_whole(spec, "progressDeadlineSeconds", "spec", default=300, least=1),
        take_over=_names(spec, "takeOver"),
        siblings=_names(spec, "siblings"),
        deletion_policy=_deletion_policy(spec.get("deletionPolicy", "Wait")),
    )


def _admin(restate: Mapping[str, Any], namespace: str) -> tuple[str, AdminService | None]:
    url, service = restate.get("url"), restate.get("service")
    if (url is None) == (service is None):
        raise InvalidSpecification(f"spec.restate: {dict(restate)!r} must have exactly one of service and url")
    if url is not None:
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise InvalidSpecification(f"spec.restate.url: {url!r} is no http:// or https:// address")
        return url.rstrip("/"), _service_of(url)
    if not isinstance(service, Mapping) or not isinstance(name := service.get("name"), str) or not name:
        raise InvalidSpecification(f"spec.restate.service: {service!r} must have the name of a Service")
    port = _whole(service, "port", "spec.restate.service", default=_ADMIN_PORT, least=1, most=_HIGHEST_PORT)
    there = AdminService(name=name, namespace=service.get("namespace") or namespace)
    # They become part of two addresses, Kubernetes' and Restate's: with a slash or a dot those lead elsewhere.
    for value in (there.name, there.namespace):
        if not _LABEL.fullmatch(str(value)):
            raise InvalidSpecification(f"spec.restate.service: {value!r} is no name of a Service or a namespace")
    return f"http://{there.name}.{there.namespace}.svc:{port}", there


def _service_of(url: str) -> AdminService | None:
    try:
        match = _IN_CLUSTER.fullmatch(urlsplit(url).hostname or "")
    except ValueError as error:
        raise InvalidSpecification(f"spec.restate.url: {url!r} is no address: {error}") from error
    return AdminService(name=match["name"], namespace=match["namespace"]) if match else None


def _names(spec: Mapping[str, Any], name: str) -> Sequence[str]:
    value = spec.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise InvalidSpecification(f"spec.{name}: {value!r} is no list of names")
    return tuple(value)


def _deletion_policy(value: Any) -> DeletionPolicy:
    if value not in ("Wait", "Cancel", "LetGo"):
        raise InvalidSpecification(f"spec.deletionPolicy: {value!r} is none of Wait, Cancel and LetGo")
    policy: DeletionPolicy = value
    return policy


def _endpoint(endpoint: Mapping[str, Any]) -> Endpoint:
    path = endpoint.get("path") or ""
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise InvalidSpecification(f"spec.endpoint.path: {path!r} must be empty or begin with a slash")
    protocol = endpoint.get("protocol") or "http2"
    if protocol not in ("http2", "http1"):
        raise InvalidSpecification(f"spec.endpoint.protocol: {protocol!r} is neither http2 nor http1")
    return Endpoint(
        port=_whole(endpoint, "port", "spec.endpoint", default=_SERVICE_PORT, least=1, most=_HIGHEST_PORT),
        path=path.rstrip("/"),
        protocol="http1" if protocol == "http1" else "http2",
        additional_headers=_strings(endpoint.get("additionalHeaders"), "spec.endpoint.additionalHeaders"),
    )


def _scaling(scaling: Mapping[str, Any]) -> Fixed | Elastic:
    where = "spec.scaling"
    elastic = {"minReplicas", "maxReplicas", "concurrency", "metricsUrl"} & scaling.keys()
    if ("replicas" in scaling) == bool(elastic):
        raise InvalidSpecification(
            f"{where}: {dict(scaling)!r} must have either replicas, or maxReplicas, concurrency and metricsUrl"
        )
    if not elastic:
        return Fixed(replicas=_whole(scaling, "replicas", where, least=1))
    minimum = _whole(scaling, "minReplicas", where, default=1)
    maximum = _whole(scaling, "maxReplicas", where, least=1)
    if maximum < minimum:
        raise InvalidSpecification(f"{where}.maxReplicas: {maximum} is less than minReplicas, {minimum}")
    url = scaling.get("metricsUrl")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise InvalidSpecification(f"{where}.metricsUrl: {url!r} is no http:// or https:// address")
    return Elastic(
        minimum=minimum,
        maximum=maximum,
        concurrency=_whole(scaling, "concurrency", where, least=1),
        metrics_url=url,
        polling_interval=_whole(scaling, "pollingInterval", where, default=5, least=1),
        cooldown_period=_whole(scaling, "cooldownPeriod", where, default=60),
        fallback_replicas=_whole(scaling, "fallbackReplicas", where) if "fallbackReplicas" in scaling else None,
    )


def _mapping(owner: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = owner.get(name)
    if not isinstance(value, Mapping):
        raise InvalidSpecification(f"{where}.{name}: {value!r} is no object: it is required")
    return value


def _strings(value: Any, where: str) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for pair in value.items() for item in pair):
        raise InvalidSpecification(f"{where}: {value!r} must map strings to strings: quote numbers and booleans")
    return dict(value)


def _whole(
    owner: Mapping[str, Any],
    name: str,
    where: str,
    *,
    default: int | None = None,
    least: int = 0,
    most: int = 2**31 - 1,
) -> int:
    value = owner.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidSpecification(f"{where}.{name}: {value!r} is no whole number from {least} to {most}")
    return value
