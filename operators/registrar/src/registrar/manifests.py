"""The three objects of a revision, as they are applied."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from registrar.revisions import GROUP, REVISION, SERVICE, address, digest, object_name
from registrar.specification import Elastic, Specification

__all__ = ["APPLIED", "ENDPOINT", "Key", "Manifest", "Owner", "deployment", "key_of", "scaled_object", "service"]

type Manifest = dict[str, Any]

type Key = tuple[str, str]
"""An object's namespace and name."""

APPLIED: Final = f"{GROUP}/applied"
"""An annotation with the digest of what was applied: another digest means apply again."""

ENDPOINT: Final = f"{GROUP}/endpoint"
"""An annotation of the Deployment with the URI its revision is registered with."""

_FAILURES_TO_FALL_BACK: Final = 3


def key_of(body: Manifest) -> Key:
    """Answer the namespace and the name of an object."""
    return body["metadata"]["namespace"], body["metadata"]["name"]


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The object that owns what is made here."""

    name: str
    namespace: str
    uid: str

    def metadata(self, revision: str, labels: Mapping[str, str] | None = None) -> Manifest:
        """Answer the metadata of an object of `revision`."""
        return {
            "name": object_name(self.name, revision),
            "namespace": self.namespace,
            "labels": {**(labels or {}), SERVICE: self.name, REVISION: revision},
            "annotations": {},
            "ownerReferences": [
                {
                    "apiVersion": f"{GROUP}/v1alpha1",
                    "kind": "RestateService",
                    "name": self.name,
                    "uid": self.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        }


def deployment(owner: Owner, revision: str, specification: Specification) -> Manifest:
    """Build the Deployment. It has no `replicas`: those are set by scaling, ours or KEDA's."""
    template = specification.template
    metadata = template.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), SERVICE: owner.name, REVISION: revision}
    manifest: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": owner.metadata(revision, metadata.get("labels")),
        "spec": {
            "selector": {"matchLabels": {SERVICE: owner.name, REVISION: revision}},
            "progressDeadlineSeconds": specification.progress_deadline,
            # A change by hand is rolled back one pod at a time, with what is there still serving.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {**template, "metadata": {**metadata, "labels": labels}},
        },
    }
    manifest["metadata"]["annotations"][ENDPOINT] = address(
        owner.name, owner.namespace, revision, specification.endpoint
    )
    return _sealed(manifest)


def service(owner: Owner, revision: str, specification: Specification) -> Manifest:
    """Build the Service that Restate reaches the revision by."""
    http2 = specification.endpoint.protocol == "http2"
    return _sealed(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": owner.metadata(revision),
            "spec": {
                "type": "ClusterIP",
                "selector": {SERVICE: owner.name, REVISION: revision},
                "ports": [
                    {
                        "name": "restate",
                        "port": specification.endpoint.port,
                        "targetPort": specification.endpoint.port,
                        "protocol": "TCP",
                        "appProtocol": "kubernetes.io/h2c" if http2 else "http",
                    }
                ],
            },
        }
    )


def scaled_object(owner: Owner, revision: str, elastic: Elastic, *, uri: str, minimum: int) -> Manifest:
    """Build the ScaledObject: work of this revision alone, told apart by the URI it is registered with."""
    separator = "&" if "?" in elastic.metrics_url else "?"
    spec: Manifest = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": object_name(owner.name, revision)},
        "pollingInterval": elastic.polling_interval,
        "cooldownPeriod": elastic.cooldown_period,
        "minReplicaCount": minimum,
        "maxReplicaCount": elastic.maximum,
        # KEDA's own period is only for the way to zero; the autoscaler's default is five minutes.
        "advanced": {
            "horizontalPodAutoscalerConfig": {
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": elastic.cooldown_period}}
            }
        },
        "triggers": [
            {
                "type": "metrics-api",
                "metadata": {
                    "url": f"{elastic.metrics_url}{separator}endpoint={quote(uri, safe='')}",
                    "valueLocation": "work",
                    "targetValue": str(elastic.concurrency),
                },
            }
        ],
    }
    if elastic.fallback_replicas is not None:
        spec["fallback"] = {
            "failureThreshold": _FAILURES_TO_FALL_BACK,
            "replicas": elastic.fallback_replicas,
            # What is scaled up for work is not taken away because nobody can be asked.
            "behavior": "currentReplicasIfHigher",
        }
    metadata = owner.metadata(revision)
    return _sealed({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata, "spec": spec})


def _sealed(manifest: Manifest) -> Manifest:
    """Write the digest of what is applied into it."""
    manifest["metadata"]["annotations"][APPLIED] = digest(manifest)
    return manifest
