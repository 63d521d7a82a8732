"""Finding one's way in rendered objects: pods in whatever makes them, selectors, names."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.charts.rendering import Object

__all__ = ["Pod", "container", "containers", "environment", "named", "of_kind", "pods", "selects"]


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod's template and what makes pods of it."""

    owner: Object
    labels: dict[str, str]
    spec: Object

    def __str__(self) -> str:
        return f"{self.owner['kind']} {self.owner['metadata']['name']}"

    @property
    def component(self) -> str:
        """Its part in the platform; empty for other charts."""
        return self.labels.get("app.kubernetes.io/component", "")


def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
    """The objects of these kinds."""
    return [found for found in objects if found["kind"] in kinds]


def named(objects: Iterable[Object], kind: str, name: str) -> Object:
    """The one object of this kind and name."""
    (found,) = (one for one in of_kind(objects, kind) if one["metadata"]["name"] == name)
    return found


def pods(objects: Iterable[Object]) -> Iterator[Pod]:
    """Every pod that will run, once for each object that makes it."""
    for owner in objects:
        if owner["kind"] == "Pod":
            yield Pod(owner=owner, labels=owner["metadata"].get("labels", {}), spec=owner["spec"])
        elif "template" in owner.get("spec", {}):
            template = owner["spec"]["template"]
            yield Pod(owner=owner, labels=template["metadata"]["labels"], spec=template["spec"])


def containers(pod: Pod) -> list[Object]:
    """All of a pod's containers, those of its start among them."""
    return [*pod.spec.get("initContainers", []), *pod.spec["containers"]]


def container(objects: Iterable[Object], kind: str, name: str) -> Object:
    """The main container of one object's pods."""
    (pod,) = pods([named(objects, kind, name)])
    return dict(pod.spec["containers"][0])


def environment(of: Object) -> dict[str, Any]:
    """A container's variables: their text, or where it comes from."""
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in of.get("env", [])}


def selects(selector: Object | None, labels: dict[str, str]) -> bool:
    """Whether a label selector takes these labels; an empty one takes all, none at all takes nothing."""
    if selector is None:
        return False
    for rule in selector.get("matchExpressions", []):
        if rule["operator"] != "In" or labels.get(rule["key"]) not in rule["values"]:
            return False
    return set(selector.get("matchLabels", {}).items()) <= set(labels.items())
