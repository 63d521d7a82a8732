"""The durable way from an uploaded file to its report: one body, on either engine."""

from typing import Any

from showcase.emails.tasks import send_email
from showcase.files import work
from showcase.files.models import Job
from showcase.uploads.working import forget, progress
from tandem import Cancelled, Context, Permanent, task

__all__ = ["run_file_workflow"]

# Of all work, by the time the steps of a large file take.
_VALIDATE, _PROCESS, _REPORT = range(75), range(75, 95), range(95, 100)


@task(
    takes_context=True,
    workflow="WorkflowOrchestrator",
    queue_name="files",
    retries=5,
    backoff=1.0,
    time_limit=1800,
)
def run_file_workflow(context: Context, job_id: str) -> dict[str, Any]:
    """Validate, process, report, notify. After a crash it goes on at the first step that is not recorded."""
    try:
        return _run(context, job_id)
    except (Cancelled, Permanent):
        forget(Job, job_id)
        raise


def _run(context: Context, job_id: str) -> dict[str, Any]:
    validated = context.step("validate", work.validate, job_id, progress(context, _VALIDATE, "validating"))
    tick = progress(context, _PROCESS, "processing")
    processed = context.step("process", work.process, job_id, validated["accepted_file"], tick)
    context.progress(_REPORT.start, total=_REPORT.stop, message="drawing the chart")
    reported = context.step("report", work.report, job_id, processed["findings"])
    context.step("publish", work.publish, job_id, validated, processed, reported, atomic=True)
    recipient, subject, text = context.step("announce", work.announcement, job_id)
    notified = context.call(send_email, recipient, subject, text) if recipient else {}
    context.step("tidy", work.tidy, job_id)
    context.progress(_REPORT.stop, total=_REPORT.stop, message="reported")
    return {
        "rows": validated["rows"],
        "accepted": validated["accepted"],
        "rejected": validated["rejected"],
        "message_id": notified.get("message_id"),
    }
