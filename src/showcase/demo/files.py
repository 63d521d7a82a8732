"""A messy file on its way to a report: on both engines, and by a classic Celery chain beside them."""

import json
from typing import Any
from uuid import uuid4

from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from showcase.data import expected_path, samples
from showcase.demo import observe
from showcase.demo.emails import ENGINES, attempts_of
from showcase.demo.report import Line, Report
from showcase.demo.visitor import Visitor
from showcase.files.models import CHAIN, Job
from showcase.files.starting import start
from showcase.uploads import starting
from tandem.ledger.models import Execution

__all__ = ["run"]

SAMPLE = "orders-small.csv"
FINISH_SECONDS = 60


def run(report: Report, visitor: Visitor) -> None:
    """Send the sample each way, and compare what its page says with what is known to be in it."""
    source = samples()[SAMPLE]
    expected = json.loads(expected_path(source).read_text(encoding="utf-8"))
    for job in Job.objects.filter(upload__owner=visitor.user):
        # Those of an earlier demonstration; the same file by the same way would be answered with them.
        starting.delete(job)
    jobs = [send(visitor, way, source.read_bytes()) for way in (*ENGINES, CHAIN)]
    executions = observe.finished([str(job.execution) for job in jobs if job.execution], timeout=FINISH_SECONDS)

    def all_reported() -> bool:
        return not Job.objects.filter(pk__in=[job.pk for job in jobs], reported_at=None).exists()

    if all(execution.phase == "succeeded" for execution in executions.values()):
        observe.until("the chain's report", all_reported, timeout=FINISH_SECONDS)
    for job in jobs:
        job.refresh_from_db()
        report.add(line(visitor, job, executions.get(str(job.execution)), expected))
        report.note(f"the report by way of {job.way}: {visitor.address(reverse('files:job', args=[job.pk]))}")


def send(visitor: Visitor, way: str, content: bytes) -> Job:
    """Do what the page's form does."""
    name = f"{way}.csv"
    job, _ = start(SimpleUploadedFile(name, content), owner=visitor.user, way=way, pk=uuid4())
    return job


def line(visitor: Visitor, job: Job, execution: Execution | None, expected: dict[str, Any]) -> Line:
    """Compare a job's page with what is known of its file."""
    path = reverse("files:job", args=[job.pk])
    page = visitor.read(path)
    counts = {label: expected[label.lower()] for label in ("Rows", "Accepted", "Rejected")}
    cents = expected["revenue_cents"]
    said = [f"{label} {number:,}" for label, number in counts.items()]
    said.append(f"Revenue {cents // 100:,}.{cents % 100:02}")
    wrong = [f"its page does not say {words!r}" for words in said if words not in page]
    if execution is not None and (execution.phase, execution.engine) != ("succeeded", job.way):
        wrong.append(f"it is {execution.phase} on {execution.engine}: {observe.result_text(execution)}")
    report_seconds = (job.reported_at - job.created_at).total_seconds() if job.reported_at else 0.0
    return Line(
        task="run_file_workflow" if execution else "files, classic chain",
        engine=execution.engine if execution else "celery",
        reason=execution.reason if execution else "the chain's own",
        steps=execution.steps.count() if execution else job.runs.count(),
        attempts=attempts_of(execution) if execution else 1,
        seconds=observe.seconds(execution) if execution else report_seconds,
        result=f"{counts['Accepted']} + {counts['Rejected']} of {counts['Rows']} rows",
        wrong=wrong,
    )
