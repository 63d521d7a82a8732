"""Enqueueing: one email, or one for each recipient of a file."""

from collections.abc import Sequence
from dataclasses import asdict
from uuid import UUID

from django.db import transaction

from showcase.emails.models import Batch, Recipient
from showcase.emails.recipients import Person, Rejection
from showcase.emails.tasks import send_email
from tandem.declarations import TaskResult

__all__ = ["send_bulk", "send_one"]

ROWS_PER_INSERT = 1000


def send_one(
    *,
    recipient: str,
    subject: str,
    body: str,
    engine: str = "",
    token: str | None = None,
    owner: str | None = None,
) -> TaskResult:
    """Enqueue one email, on `engine` or where the routes say; an owner's second call with one `token` answers the first's."""
    key = None if token is None else f"{owner}:{token}"
    call = send_email.using(engine=engine or None, idempotency_key=key, owner=owner)
    return call.enqueue(recipient, subject, body)


def send_bulk(  # one keyword for each field of the form
    *,
    persons: Sequence[Person],
    rejections: Sequence[Rejection],
    subject: str,
    body: str,
    engine: str = "",
    batch_id: UUID,
    owner: str | None = None,
) -> Batch:
    """Enqueue one email for each person, in one transaction with the batch.

    A second call with one `batch_id` answers the first's batch and sends nothing.
    """
    with transaction.atomic():
        batch, created = Batch.objects.get_or_create(
            pk=batch_id,
            defaults={
                "subject": subject,
                "engine": engine,
                "owner": owner,
                "total": len(persons),
                "rejected": [asdict(rejection) for rejection in rejections],
            },
        )
        if created and persons:
            results = send_email.using(engine=engine or None, owner=owner).enqueue_many(
                [((person.email, subject, body), {"name": person.name}) for person in persons]
            )
            Recipient.objects.bulk_create(
                (
                    Recipient(
                        batch=batch, line=person.line, email=person.email, name=person.name, execution=UUID(result.id)
                    )
                    for person, result in zip(persons, results, strict=True)
                ),
                batch_size=ROWS_PER_INSERT,
            )
    return batch
