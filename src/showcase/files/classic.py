"""The same pipeline in the classic way, as a Celery chain, for comparison.

Each task takes what the one before it returned and passes it on in the next one's message. What it lacks, and the
workflow in `tasks` has: a worker that is killed loses the message of the step it is in, and with it all that was to
follow. Nothing tells of that and nothing resumes: one starts again from the beginning.
"""

from typing import Any

from celery import chain

from showcase.celery import app
from showcase.emails.tasks import compose, deliver
from showcase.emails.tasks import record as record_delivery
from showcase.files import work

__all__ = ["start"]

_OPTIONS: dict[str, Any] = {"autoretry_for": (OSError,), "max_retries": 5, "retry_backoff": True, "queue": "files"}


def start(job_id: str) -> None:
    """Send the first message of the chain."""
    chain(validate.s(job_id), process.s(), report.s(), notify.s()).apply_async()


def _unheard(_done: int, _total: int) -> None:
    """Drop what a step tells of its progress: the chain has nowhere to put it."""


@app.task(**_OPTIONS)  # type: ignore[untyped-decorator]  # Celery ships no types
def validate(job_id: str) -> dict[str, Any]:
    return {"job_id": job_id, "validated": work.validate(job_id, _unheard)}


@app.task(**_OPTIONS)  # type: ignore[untyped-decorator]  # as above
def process(before: dict[str, Any]) -> dict[str, Any]:
    accepted = before["validated"]["accepted_file"]
    return {**before, "processed": work.process(before["job_id"], accepted, _unheard)}


@app.task(**_OPTIONS)  # type: ignore[untyped-decorator]  # as above
def report(before: dict[str, Any]) -> dict[str, Any]:
    reported = work.report(before["job_id"], before["processed"]["findings"])
    work.publish(before["job_id"], before["validated"], before["processed"], reported)
    return before


@app.task(**_OPTIONS)  # type: ignore[untyped-decorator]  # as above
def notify(before: dict[str, Any]) -> None:
    recipient, subject, text = work.announcement(before["job_id"])
    message = compose(recipient, subject, text, "", key=before["job_id"])
    record_delivery(message, deliver(message))
    work.tidy(before["job_id"])
