"""A data set described on both engines, each column by a child, and compared with what is known to be in it."""

import json
import math
from typing import Any
from uuid import uuid4

from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from showcase.analysis.models import Analysis
from showcase.analysis.starting import start
from showcase.data import expected_path, samples
from showcase.demo import observe
from showcase.demo.emails import ENGINES, attempts_of
from showcase.demo.report import Line, Report
from showcase.demo.visitor import Visitor
from showcase.uploads import starting
from tandem.ledger.models import Execution

__all__ = ["run"]

SAMPLE = "measurements-small.parquet"
FINISH_SECONDS = 60


def run(report: Report, visitor: Visitor) -> None:
    """Send the sample to each engine, and compare what was found with what is known to be in it."""
    source = samples()[SAMPLE]
    expected = json.loads(expected_path(source).read_text(encoding="utf-8"))
    for analysis in Analysis.objects.filter(upload__owner=visitor.user):
        # Those of an earlier demonstration; the same file on the same engine would be answered with them.
        starting.delete(analysis)
    sent = [send(visitor, engine, source.read_bytes()) for engine in ENGINES]
    executions = observe.finished([str(analysis.execution) for analysis in sent], timeout=FINISH_SECONDS)
    for analysis in sent:
        analysis.refresh_from_db()
        path = reverse("analysis:analysis", args=[analysis.pk])
        page = visitor.read(path)
        report.add(line(analysis, executions[str(analysis.execution)], page, expected))
        report.note(f"the description by way of {analysis.way}: {visitor.address(path)}")


def send(visitor: Visitor, engine: str, content: bytes) -> Analysis:
    """Do what the page's form does."""
    file = SimpleUploadedFile(SAMPLE, content)
    return start(file, owner=visitor.user, way=engine, pk=uuid4())[0]


def line(analysis: Analysis, execution: Execution, page: str, expected: dict[str, Any]) -> Line:
    """Compare an analysis and its page with what is known of its file."""
    wrong = [f"{name} is not as it is known to be" for name in differing(analysis.findings or {}, expected)]
    if f"Rows {expected['rows']:,}" not in page:
        wrong.append(f"its page does not say that there are {expected['rows']:,} rows")
    if (execution.phase, execution.engine) != ("succeeded", analysis.way):
        wrong.append(f"it is {execution.phase} on {execution.engine}: {observe.result_text(execution)}")
    return Line(
        task="describe_dataset",
        engine=execution.engine,
        reason=execution.reason,
        steps=execution.steps.count(),
        attempts=attempts_of(execution),
        seconds=observe.seconds(execution),
        result=f"{expected['rows']:,} rows, {len(expected['columns'])} columns, each by a child",
        wrong=wrong,
    )


def differing(findings: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """The columns of which something else was found than is known."""
    found = {column["name"]: column for column in findings.get("columns", [])}

    def right(name: str, known: dict[str, Any]) -> bool:
        column = found.get(name, {})
        same = (column.get("count"), column.get("missing")) == (known["count"], known["missing"])
        if same and "mean" in known:
            return math.isclose(column["numbers"]["mean"], known["mean"], rel_tol=expected["tolerance"])
        return same

    return [name for name, known in expected["columns"].items() if not right(name, known)]
