"""What the pages show of a bulk sending."""

from typing import Final

from django.db.models import Count

from showcase.emails.models import Batch, Recipient
from tandem.ledger.models import Execution, Phase

__all__ = ["batch_lines", "batch_phases"]

LISTED: Final = 100


def batch_phases(batch: Batch) -> list[tuple[str, int]]:
    """How many executions of a batch are in each phase, the fullest first."""
    executions = Execution.objects.filter(id__in=batch.recipients.values("execution"))
    counts = executions.values_list("phase").annotate(number=Count("id")).order_by("-number", "phase")
    return [(Phase(phase).label, number) for phase, number in counts]


def batch_lines(batch: Batch) -> list[tuple[Recipient, Execution | None]]:
    """The first recipients of a batch with their executions (None once pruned)."""
    people = list(batch.recipients.order_by("line")[:LISTED])
    executions = Execution.objects.in_bulk([person.execution for person in people])
    return [(person, executions.get(person.execution)) for person in people]
