"""Moving one task to Restate by a percentage, and back."""

from collections import Counter
from decimal import Decimal

from showcase.demo import observe
from showcase.demo.report import Report
from showcase.emails.tasks import send_email
from tandem import operations

__all__ = ["PATTERN", "run", "set_percentage"]

PATTERN = "showcase.emails.tasks.send_email"
SENT = 60
FINISH_SECONDS = 60
# Emails on Restate at each stage. At 50 % these are four standard deviations around 30.
STAGES = ((0, range(1)), (50, range(14, 47)), (100, range(SENT, SENT + 1)), (0, range(1)))


def set_percentage(percent: int) -> None:
    """Do what `manage.py tandem routes set PATTERN restate:PERCENT` does."""
    operations.set_rule(
        send_email.get_backend().router,
        pattern=PATTERN,
        engine="restate",
        percent=Decimal(percent),
        author="the demonstration",
    )


def run(report: Report) -> None:
    """Send as many emails at each stage, and count where they ran."""
    for stage, (percent, expected) in enumerate(STAGES):
        set_percentage(percent)
        calls: list[tuple[tuple[str, ...], dict[str, str]]] = [
            ((f"rollout-{stage}-{number}@example.com", "Rollout", f"{percent} %"), {}) for number in range(SENT)
        ]
        results = send_email.enqueue_many(calls)
        executions = observe.finished([result.id for result in results], timeout=FINISH_SECONDS).values()
        ran = Counter(execution.engine for execution in executions if execution.phase == "succeeded")
        wrong = []
        if ran.total() != SENT:
            wrong.append(f"{SENT - ran.total()} of {SENT} did not succeed")
        if ran["restate"] not in expected:
            wrong.append(f"expected {expected.start} to {expected.stop - 1} on Restate")
        report.note(
            f"routes set {PATTERN} restate:{percent:<3}  ran on Celery {ran['celery']:>2}, on Restate {ran['restate']:>2}",
            wrong=wrong,
        )
