"""Rendering a chart as Helm would apply it, without any cluster."""

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from local_node.programs import program

__all__ = [
    "CHARTS",
    "MATRIX",
    "MINIMAL",
    "NAMESPACE",
    "RELEASE",
    "Case",
    "Object",
    "Refused",
    "case",
    "cases",
    "helm",
    "load",
    "load_all",
    "render",
    "rendered",
]

ROOT: Final = Path(__file__).resolve().parents[2]
CHARTS: Final = ROOT / "charts"
NAMESPACE: Final = "demo"
RELEASE: Final = "trial"

type Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A chart with one file of values."""

    chart: str
    file: Path

    def __str__(self) -> str:
        return f"{self.chart}:{self.file.stem.removesuffix('-values')}"

    @property
    def values(self) -> Object:
        """What the file gives."""
        return dict(load(self.file.read_text()) or {})


class Refused(Exception):
    """Helm rendered nothing; the message is its own."""


MATRIX: Final = [
    *(
        Case(chart=folder.name, file=file)
        for folder in sorted(CHARTS.iterdir())
        for file in sorted(folder.glob("ci/*"))
    ),
    Case(chart="tandem", file=ROOT / "k8s-tests" / "values.yaml"),
]


def load(text: str) -> Any:
    """Read one YAML document."""
    return yaml.load(text, Loader=yaml.CSafeLoader)


def load_all(text: str) -> list[Object]:
    """Read YAML documents; empty ones are left out."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def helm(*words: str | Path) -> str:
    """Run Helm, and answer what it printed. Raises `Refused`."""
    answer = subprocess.run([program("helm"), *words], capture_output=True, text=True, timeout=60, check=False)
    if answer.returncode:
        raise Refused(answer.stderr + answer.stdout)
    return answer.stdout


def render(of: Case, *words: str, release: str = RELEASE, **values: Any) -> list[Object]:
    """Render a chart with more `values`; a dot in a name is written `__`, and a value is any JSON."""
    given = [f"--set-json={name.replace('__', '.')}={json.dumps(value)}" for name, value in values.items()]
    text = helm("template", release, CHARTS / of.chart, "--namespace", NAMESPACE, "--values", of.file, *given, *words)
    return load_all(text)


@cache
def rendered(of: Case) -> tuple[Object, ...]:
    """A chart's objects, rendered once for all tests, which leave them as they are."""
    return tuple(render(of))


def cases(chart: str) -> list[Case]:
    """The matrix of one chart."""
    return [one for one in MATRIX if one.chart == chart]


def case(chart: str, name: str) -> Case:
    """One file of a chart's matrix."""
    (found,) = (one for one in cases(chart) if one.file.name == f"{name}-values.yaml")
    return found


MINIMAL: Final = case("tandem", "minimal")
