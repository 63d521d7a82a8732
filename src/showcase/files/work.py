"""The four steps, for the durable workflow and for the classic chain alike.

Each takes what the one before it returned, and may run again after it was cut off: what it keeps has a new name.
Polars and matplotlib are loaded where they are used: processes that only know of these tasks stay small.
"""

from typing import Any, Final
from urllib.parse import urljoin

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from showcase.files.models import Job, StepRun
from showcase.tabular import UnreadableFileError
from showcase.uploads import storing
from showcase.uploads.working import Tick, find, kept, running
from tandem import Permanent

__all__ = ["announcement", "process", "publish", "report", "tidy", "validate"]

# Of a subject, which may have 200 characters.
_LONGEST_NAME: Final = 150


def validate(job_id: str, tick: Tick) -> dict[str, Any]:
    """Part the rows that are right from those that are not."""
    from showcase.files import pipeline  # noqa: PLC0415  # see the module's docstring

    job = find(Job, job_id)
    with (
        running(job, StepRun(job=job, step="validate")) as folder,
        kept(job.upload.stored, "The uploaded file") as source,
    ):
        accepted, rejects = folder / "accepted.parquet", folder / "rejects.csv"
        try:
            found = pipeline.validate(source, accepted=accepted, rejects=rejects, tick=tick)
        except UnreadableFileError as error:
            raise Permanent(f"{job.upload.name}: {error}") from error
        return {
            **found,
            "accepted_file": storing.move(job.pk, accepted),
            "rejects_file": storing.move(job.pk, rejects),
        }


def process(job_id: str, accepted_file: str, tick: Tick) -> dict[str, Any]:
    """Make the cleaned table, and find what the report says."""
    from showcase.files import pipeline  # noqa: PLC0415  # see the module's docstring

    job = find(Job, job_id)
    with (
        running(job, StepRun(job=job, step="process")) as folder,
        kept(accepted_file, "The table of accepted rows") as accepted,
    ):
        cleaned = folder / "cleaned.parquet"
        findings = pipeline.process(accepted, cleaned=cleaned, tick=tick)
        return {"findings": findings, "cleaned_file": storing.move(job.pk, cleaned)}


def report(job_id: str, findings: dict[str, Any]) -> dict[str, Any]:
    """Draw the chart."""
    from showcase.files import pipeline  # noqa: PLC0415  # see the module's docstring

    job = find(Job, job_id)
    with running(job, StepRun(job=job, step="report")) as folder:
        chart = folder / "chart.png"
        pipeline.chart(findings, chart)
        return {"chart_file": storing.move(job.pk, chart)}


def publish(job_id: str, validated: dict[str, Any], processed: dict[str, Any], reported: dict[str, Any]) -> None:
    """Put the report on its page, in one UPDATE."""
    counts = {name: value for name, value in validated.items() if not name.endswith("_file")}
    Job.objects.filter(pk=job_id).update(
        validation=counts,
        findings=processed["findings"],
        rejects=validated["rejects_file"],
        cleaned=processed["cleaned_file"],
        chart=reported["chart_file"],
        reported_at=timezone.now(),
    )


def announcement(job_id: str) -> tuple[str, str, str]:
    """The email that tells of the report: to whom (empty where the owner has no address), its subject, its text."""
    job = find(Job, job_id)
    found = job.validation or {}
    link = urljoin(settings.TANDEM_SITE_URL, reverse("files:job", args=[job.pk]))
    text = (
        f"The report on {job.upload.name} is ready: {link}\n\n"
        f"{found['rows']:,} rows: {found['accepted']:,} accepted, {found['rejected']:,} rejected.\n"
    )
    return job.upload.owner.email, f"Report on {job.upload.name[:_LONGEST_NAME]}", text


def tidy(job_id: str) -> None:
    """Remove what no page needs: the upload's intermediate tables, and what runs left that were cut off."""
    job = find(Job, job_id)
    storing.tidy(job.pk, keep={job.rejects, job.cleaned, job.chart})
