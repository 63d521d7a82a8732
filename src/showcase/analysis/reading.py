"""What the pages show of an analysis: what is there so far, in plain words."""

import re
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

from showcase.analysis.models import Analysis
from tandem.ledger.models import Execution, Phase, Step

__all__ = ["PNG", "Column", "Pair", "columns", "counts", "pairs", "prepared", "runs", "shown", "stored"]

STRONGEST: Final = 10
SMALL: Final = 1e-4
LARGE: Final = 1e15
PNG: Final = "image/png"
# In the order in which they are read; JSON in PostgreSQL keeps none.
FACTS: Final = {
    "numbers": (
        *("minimum", "first_quartile", "median", "third_quartile", "maximum"),
        *("mean", "standard_deviation", "skewness", "infinite"),
    ),
    "texts": ("shortest", "longest", "mean_length"),
    "times": ("first", "last"),
    "booleans": ("true", "false"),
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column, and what is known of it so far. `place` counts from 1; `found` is empty until it is described."""

    place: int
    name: str
    type: str
    phase: str
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def picture(self) -> str:
        """What its histogram is called, for the address; empty where there is none."""
        return f"column-{self.place}.png" if self.found.get("picture") else ""

    @property
    def missing(self) -> str:
        """How many rows have nothing there."""
        return shown(self.found["missing"]) if self.found else ""

    @property
    def most_frequent(self) -> list[tuple[str, str]]:
        """The most frequent texts: value and rows."""
        listed = self.found.get("texts", {}).get("most_frequent", [])
        return [(each["value"], shown(each["number"])) for each in listed]

    @property
    def distinct(self) -> str:
        """How many different values there are."""
        if "distinct" not in self.found:
            return ""
        return f"{'more than ' if self.found['more'] else ''}{self.found['distinct']:,}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What is told of it, each with its name."""
        found = [("Values", shown(self.found["count"])), ("Missing", shown(self.found["missing"]))]
        if self.distinct:
            found.append(("Different values", self.distinct))
        for section, names in FACTS.items():
            if section in self.found:
                found += ((name.replace("_", " ").capitalize(), shown(self.found[section][name])) for name in names)
        return found

    @property
    def outliers(self) -> list[tuple[str, str]]:
        """The first outliers: row and value."""
        examples = self.found.get("numbers", {}).get("outliers", {}).get("examples", [])
        return [(shown(each["row"]), shown(each["value"])) for each in examples]

    @property
    def fences(self) -> str:
        """Beyond what a number is an outlier."""
        outliers = self.found["numbers"]["outliers"]
        return f"below {shown(outliers['lower'])} or above {shown(outliers['upper'])}"

    @property
    def summary(self) -> str:
        """The few words that the table of all columns has room for."""
        if not self.found.get("count"):
            return ""
        if numbers := self.found.get("numbers"):
            return f"{shown(numbers['minimum'])} to {shown(numbers['maximum'])}, mean {shown(numbers['mean'])}"
        if times := self.found.get("times"):
            return f"{times['first']} to {times['last']}"
        if booleans := self.found.get("booleans"):
            return f"true {shown(booleans['true'])}, false {shown(booleans['false'])}"
        return ", ".join(value for value, _ in self.most_frequent[:3])


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two columns of numbers and how they go together, over so many rows."""

    first: str
    second: str
    coefficient: float
    rows: str


def shown(value: float | str | None) -> str:
    """A value as people read it: thousands apart, four digits after the point."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if value and not SMALL <= abs(value) < LARGE:
        return f"{value:.5g}"
    return f"{value:,.4f}".rstrip("0").rstrip(".")


def prepared(analysis: Analysis) -> dict[str, Any] | None:
    """What the first step found; None before it ended."""
    if analysis.findings is not None:
        return dict(analysis.findings["prepared"])
    step = Step.objects.filter(execution=analysis.execution, name="prepare", finished_at__isnull=False).first()
    return dict(step.result) if step and isinstance(step.result, dict) else None


def counts(analysis: Analysis, listed: list[Column]) -> list[tuple[str, str]]:
    """What the page says first, and why records were left out, the commonest reason first; empty before it is known."""
    found = prepared(analysis)
    if found is None:
        return []
    kinds = sorted(found["kinds"].items(), key=lambda pair: (-pair[1], pair[0]))
    described = sum(bool(column.found) for column in listed)
    counted = [("Rows", found["rows"]), ("Columns", len(listed)), ("Described", described)]
    return [(name, shown(number)) for name, number in (*counted, ("Records left out", found["rejected"]), *kinds)]


def columns(analysis: Analysis) -> list[Column]:
    """All columns in the file's order; those that are not described yet with the phase of their execution."""
    listed = (prepared(analysis) or {"columns": []})["columns"]
    found = _found(analysis)
    waiting: tuple[str, dict[str, Any]] = (Phase.QUEUED.value, {})
    return [
        Column(place=place, name=each["name"], type=each["type"], phase=phase, found=description)
        for place, each in enumerate(listed, start=1)
        for phase, description in [found.get(each["name"], waiting)]
    ]


def _found(analysis: Analysis) -> dict[str, tuple[str, dict[str, Any]]]:
    """The phase and the description of each column: of the findings, or before there are any, of the children."""
    if analysis.findings is not None:
        return {each["name"]: (Phase.SUCCEEDED.value, each) for each in analysis.findings["columns"]}
    children = Execution.objects.filter(parent=analysis.execution).values_list("arguments", "phase", "result")
    return {arguments["args"][2]: (phase, result or {}) for arguments, phase, result in children}


def pairs(analysis: Analysis) -> list[Pair]:
    """The pairs of columns that go together most, or against each other."""
    found = (analysis.findings or {}).get("correlations") or {"names": []}
    all_of_them = (
        Pair(
            first=found["names"][row],
            second=found["names"][column],
            coefficient=found["coefficients"][row][column],
            rows=shown(found["rows"][row][column]),
        )
        for row, column in combinations(range(len(found["names"])), 2)
        if found["coefficients"][row][column] is not None
    )
    return sorted(all_of_them, key=lambda pair: -abs(pair.coefficient))[:STRONGEST]


def runs(analysis: Analysis) -> list[tuple[str, int, int]]:
    """Each kind of step with how often one was started, and how many of these were cut off or still run."""
    counted: dict[str, list[bool]] = {}
    for step, finished_at in analysis.runs.values_list("step", "finished_at"):
        counted.setdefault(step, []).append(finished_at is None)
    return [(step, len(unfinished), sum(unfinished)) for step, unfinished in counted.items()]


def stored(analysis: Analysis, name: str) -> tuple[str, str]:
    """The name in the storage and the type of what the pages call `name`; both empty where there is no such thing."""
    findings = analysis.findings or {}
    if found := re.fullmatch(r"column-([0-9]{1,3})\.png", name):
        described = {column.place: column.found for column in columns(analysis)}
        return described.get(int(found[1]), {}).get("picture", ""), PNG
    if name in {"correlations.png", "scatter.png"}:
        return findings.get("pictures", {}).get(name.removesuffix(".png"), ""), PNG
    if name == "prepared.parquet" and findings:
        return findings["prepared"]["file"], "application/vnd.apache.parquet"
    return "", ""
