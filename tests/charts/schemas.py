"""JSON Schemas for kubeconform, made from what Kubernetes and KEDA publish in their Go modules: no network."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from local_node.programs import KUBERNETES_VERSION, MODULES, cache, module_folder
from tests.charts.rendering import CHARTS, load

__all__ = ["schemas"]

Schema = dict[str, Any]
_REFERENCE: Final = "#/components/schemas/"
_GROUPS: Final = (
    "api__v1",
    "apis__apps__v1",
    "apis__autoscaling__v2",
    "apis__batch__v1",
    "apis__networking.k8s.io__v1",
    "apis__policy__v1",
    "apis__rbac.authorization.k8s.io__v1",
    "apis__apiextensions.k8s.io__v1",
)


def schemas() -> str:
    """Where kubeconform finds a schema, as its option `-schema-location` wants it."""
    definitions = [keda() / "config/crd/bases/keda.sh_scaledobjects.yaml", *CHARTS.glob("*/files/crd.yaml")]
    text = "\0".join([KUBERNETES_VERSION, *(file.read_text() for file in (Path(__file__), *definitions))])
    folder = cache() / "schemas" / hashlib.sha256(text.encode()).hexdigest()[:12]
    if not folder.exists():
        _make(folder, definitions)
    return str(folder / "{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json")


def keda() -> Path:
    """The sources of the KEDA that the local node runs."""
    module = "github.com/kedacore/keda/v2"
    lines = (line.split() for line in (MODULES / "keda" / "go.mod").read_text().splitlines())
    (version,) = {words[1] for words in lines if words[:1] == [module] and len(words) > 1}
    return module_folder("keda", f"{module}@{version}")


def _make(folder: Path, definitions: list[Path]) -> None:
    """Beside and renamed: another run may read or make the same folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        specification = module_folder("kubernetes", f"k8s.io/kubernetes@v{KUBERNETES_VERSION}") / "api/openapi-spec/v3"
        for group in _GROUPS:
            _write(partial, _built_in(json.loads((specification / f"{group}_openapi.json").read_text())))
        for file in definitions:
            _write(partial, _custom(load(file.read_text())))
        try:
            partial.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(folder: Path, found: Iterator[tuple[str, Schema]]) -> None:
    for name, schema in found:
        (folder / f"{name}.json").write_text(json.dumps(schema))


def _built_in(specification: Schema) -> Iterator[tuple[str, Schema]]:
    known = {name: _closed(schema) for name, schema in specification["components"]["schemas"].items()}
    for schema in known.values():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            needed: dict[str, Schema] = {}
            _gather(schema, known, needed)
            yield _name(kind["kind"], kind["group"], kind["version"]), {**schema, "definitions": needed}


def _custom(definition: Schema) -> Iterator[tuple[str, Schema]]:
    spec = definition["spec"]
    for version in spec["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        schema["properties"] |= {name: {"type": "string"} for name in ("apiVersion", "kind")}
        schema["properties"]["metadata"] = {"type": "object"}
        yield _name(spec["names"]["kind"], spec["group"], version["name"]), _closed(schema)


def _name(kind: str, group: str, version: str) -> str:
    # kubeconform calls the group of the core "v1".
    return f"{kind.lower()}-{group or version}-{version}"


def _gather(schema: Any, known: dict[str, Schema], needed: dict[str, Schema]) -> None:
    """Collect every schema that this one refers to."""
    for name in _references(schema):
        if name not in needed:
            needed[name] = known[name]
            _gather(known[name], known, needed)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.removeprefix("#/definitions/")
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _closed(schema: Any) -> Any:
    """Refuse fields that are not in the schema, as the API server's strict validation does."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if reference := schema.get("$ref"):
        return {"$ref": reference.replace(_REFERENCE, "#/definitions/")}
    found = {name: _closed(value) for name, value in schema.items() if name != "properties"}
    if "properties" in schema:
        found["properties"] = {name: _closed(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found.setdefault("additionalProperties", False)
    return found
