"""Looking at the site as a person does."""

from django.urls import reverse

from showcase.demo.report import Report
from showcase.demo.visitor import Visitor
from tandem.ledger.models import Execution

__all__ = ["run"]


def run(report: Report, visitor: Visitor) -> None:
    """Open the page of the newest email that was refused for good: it must say why."""
    refused = Execution.objects.filter(task__endswith=".send_email", outcome="failed").order_by("-created_at").first()
    if refused is None:
        report.note("the site shows why an email was refused", wrong=["no email was refused"])
        return
    path = reverse("executions:execution", args=[refused.pk])
    report.note(
        f"the site shows why an email was refused: {visitor.address(path)}",
        wrong=[] if "550 5.1.1" in visitor.read(path) else ["the page does not have the server's words"],
    )
