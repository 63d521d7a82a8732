"""Whether a `RestateService` may point where it does: into its own namespace, or where that side agreed.

A registrar reaches what the pods of a namespace do not, so it must not be led there by whoever may write an object.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from registrar.manifests import Manifest
from registrar.revisions import GROUP
from registrar.specification import Specification

__all__ = ["ALLOWED", "Consent", "InvalidConsents", "is_listed", "objection", "read_consents"]

ALLOWED: Final = f"{GROUP}/allowed-namespaces"
"""An annotation of an admin Service: the other namespaces whose objects may be registered there, or `*`."""

_EVERYBODY: Final = "*"
_RELEASE: Final = "meta.helm.sh/release-name"


class InvalidConsents(Exception):
    """The list of consents cannot be read; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Consent:
    """Who runs the registrar lets the objects of `namespaces` (`*` is all) point at the admin API at `url`."""

    namespaces: Sequence[str]
    url: str


def read_consents(text: str) -> Sequence[Consent]:
    """Read a JSON list of objects with `namespaces` and `url`; raises `InvalidConsents`."""
    try:
        found = tuple(_consent(item) for item in json.loads(text or "[]") or ())
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidConsents(f'{text!r} is no list of {{"namespaces": [...], "url": ...}}: {error!r}') from error
    return found


def is_listed(specification: Specification, namespace: str, consents: Sequence[Consent]) -> bool:
    """Whether the registrar's own list lets the objects of a namespace point there."""
    return any(
        item.url == specification.admin_url and {namespace, _EVERYBODY} & set(item.namespaces) for item in consents
    )


def objection(specification: Specification, namespace: str, service: Manifest | None) -> str | None:
    """Answer why an object of `namespace` may not point there, `None` where it may; `service` is what stands there."""
    where, url = specification.admin_service, specification.admin_url
    listed = f"name {url} for {namespace} in `consents` of the registrar's chart"
    if where is None:
        return f"spec.restate.url: {url} is no NAME.NAMESPACE.svc, so no Service there can agree. To allow it, {listed}"
    if where.namespace == namespace:
        # Without a selector, or by another name, it leads wherever its writer wants.
        spec = (service or {}).get("spec") or {}
        if service is None or (spec.get("selector") and spec.get("type") != "ExternalName"):
            return None
        return (
            f"spec.restate: Service {where.name} selects no pods of namespace {namespace}, so it may lead to another's. "
            f"Give it a selector, or {listed}"
        )
    annotations = ((service or {}).get("metadata") or {}).get("annotations") or {}
    if {namespace, _EVERYBODY} & {item.strip() for item in annotations.get(ALLOWED, "").split(",")}:
        return None
    agreement = f"annotate Service {where.name} there with {ALLOWED}: {namespace}"
    if release := annotations.get(_RELEASE):
        # Helm's next upgrade would meet an annotation by another hand, and fail.
        agreement = f"add {namespace} to `restate.allowedNamespaces` in the values of the Helm release {release} there"
    return (
        f"spec.restate: {url} is of namespace {where.namespace}, which has not agreed to services of {namespace}. To "
        f"allow it, {agreement}; or {listed}"
    )


def _consent(item: Any) -> Consent:
    namespaces, url = item["namespaces"], item["url"]
    if not isinstance(url, str) or not isinstance(namespaces, list):
        raise TypeError(f"{item!r}")
    return Consent(namespaces=tuple(namespaces), url=url.rstrip("/"))
