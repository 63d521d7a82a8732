"""Looking at the site as a person does."""

import os
import urllib.parse
import urllib.request

from showcase.demo import observe
from showcase.demo.report import Report
from tandem.ledger.models import Execution

__all__ = ["run"]


def run(report: Report) -> None:
    """Open the page of the newest email that was refused for good: it must say why."""
    site = os.environ["TANDEM_DEMO_SITE_URL"]
    refused = Execution.objects.filter(task__endswith=".send_email", outcome="failed").order_by("-created_at").first()
    if refused is None:
        report.note("the site shows why an email was refused", wrong=["no email was refused"])
        return
    url = urllib.parse.urljoin(site, f"/executions/{refused.pk}/")
    with urllib.request.urlopen(url, timeout=observe.REQUEST_SECONDS) as answer:  # noqa: S310 - the stack's own address
        page = answer.read().decode()
    report.note(
        f"the site shows why an email was refused: {url}",
        wrong=[] if "550 5.1.1" in page else ["the page does not have the server's words"],
    )
