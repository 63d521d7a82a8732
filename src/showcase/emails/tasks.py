"""The tasks of the emails app. Each runs unchanged on either engine."""

import asyncio
import os
import time
from email.utils import formatdate, parseaddr

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.utils import timezone

from showcase.emails import smtp
from showcase.emails.models import Delivery, SectionRun
from tandem import AsyncContext, Context, Permanent, task

__all__ = ["newsletter", "ping", "send_email"]

LONGEST_SUBJECT = 200
LONGEST_BODY = 50_000
SECTIONS = ["headline", "leading article", "weather", "sports", "letters", "imprint"]
SLOWEST_SECTION_SECONDS = 30


@task(takes_context=True, queue_name="emails", retries=5, backoff=1.0, external=True, time_limit=90)
def send_email(context: Context, recipient: str, subject: str, body: str, name: str = "") -> dict[str, str | int]:
    """Send one email. `{name}` in subject and body becomes `name`.

    A 4xx and a lost connection are retried, a 5xx is not. Every attempt sends the same Message-ID, and none sends
    again once an acceptance is recorded.
    """
    message = context.step("compose", compose, recipient, subject, body, name, key=context.idempotency_key("deliver"))
    context.progress(1, total=3, message="composed")
    answer = context.step("deliver", deliver, message)
    context.progress(2, total=3, message="accepted by the mail server")
    context.step("record", record, message, answer)
    context.progress(3, total=3, message="recorded")
    return {"message_id": message["message_id"], **answer}


def compose(recipient: str, subject: str, body: str, name: str, *, key: str) -> dict[str, str]:
    """Check what the caller gave and fix all that the message says, its Message-ID and its date included."""
    given: tuple[tuple[str, object, int], ...] = (
        ("recipient", recipient, 254),
        ("subject", subject, LONGEST_SUBJECT),
        ("body", body, LONGEST_BODY),
        ("name", name, LONGEST_SUBJECT),
    )
    for argument, value, longest in given:
        # Through Restate's ingress comes whatever the caller wrote.
        if not isinstance(value, str) or len(value) > longest or (argument != "name" and not value.strip()):
            raise Permanent(f"{argument} must be text of 1 to {longest:,} characters.")
    try:
        validate_email(recipient)
    except ValidationError:
        raise Permanent(f"{recipient!r} is no email address.") from None
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
    return {
        "message_id": f"<{key}@{domain}>",
        "date": formatdate(),
        "recipient": recipient,
        # A line break would start another header.
        "subject": " ".join(subject.replace("{name}", name).split()),
        "body": body.replace("{name}", name),
    }


def deliver(message: dict[str, str]) -> dict[str, str | int]:
    """Hand the message to the mail server and return its answer."""
    return smtp.deliver(
        EmailMessage(
            subject=message["subject"],
            body=message["body"],
            to=[message["recipient"]],
            headers={"Message-ID": message["message_id"], "Date": message["date"]},
        )
    )


def record(message: dict[str, str], answer: dict[str, str | int]) -> None:
    """Keep the acceptance in the app's own table, once."""
    Delivery.objects.get_or_create(
        message_id=message["message_id"],
        defaults={
            "recipient": message["recipient"],
            "subject": message["subject"][:LONGEST_SUBJECT],
            "answer": f"{answer['code']} {answer['answer']}"[:1000],
        },
    )


@task(takes_context=True, queue_name="emails", retries=5, backoff=1.0, time_limit=300)
def newsletter(context: Context, title: str, seconds_per_section: float = 1.0) -> list[dict[str, str | int]]:
    """Write a newsletter section by section; `title` names it in the table of section runs.

    Each section is a step that says which process wrote it, so that one can see what ran again after a crash.
    """
    if not 0 <= seconds_per_section <= SLOWEST_SECTION_SECONDS:
        raise Permanent(f"seconds_per_section must be from 0 to {SLOWEST_SECTION_SECONDS}, not {seconds_per_section}.")
    written = []
    for number, heading in enumerate(SECTIONS, start=1):
        written.append(context.step(heading, write_section, title, number, heading, seconds_per_section))
        context.progress(number, total=len(SECTIONS), message=heading)
    return written


def write_section(title: str, number: int, heading: str, seconds: float) -> dict[str, str | int]:
    """Stand in for writing that takes `seconds`."""
    run = SectionRun.objects.create(newsletter=title, section=number, process=os.getpid())
    time.sleep(seconds)
    SectionRun.objects.filter(pk=run.pk).update(finished_at=timezone.now())
    return {"section": number, "heading": heading, "process": os.getpid()}


@task(takes_context=True, queue_name="default", retries=1)
async def ping(context: AsyncContext, pause_seconds: float = 0.0) -> dict[str, str]:
    """Answer at once or after a pause: the smallest task with an async body."""
    answer: str = await context.step("answer", answer_after, pause_seconds)
    await context.progress(1, total=1, message="answered")
    return {"answer": answer, "engine": context.engine}


async def answer_after(seconds: float) -> str:
    """Wait without blocking the loop, then answer."""
    await asyncio.sleep(seconds)
    return "pong"
