"""What the scenario asks of the ledger and the inbox."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.conf import settings

from showcase.executions import reading
from tandem.ledger.models import Execution

__all__ = ["ScenarioError", "finished", "inbox", "result_text", "seconds", "until"]

POLL_SECONDS = 0.1
REQUEST_SECONDS = 10


class ScenarioError(RuntimeError):
    """Something the scenario waits for did not come; the message says what."""


def until[T](what: str, look: Callable[[], T | None], *, timeout: float) -> T:
    """Call `look` until it answers something true; raises `ScenarioError` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        if time.monotonic() > deadline:
            raise ScenarioError(f"Waited {timeout:.0f} s for {what}.")
        time.sleep(POLL_SECONDS)
    return found


def finished(ids: Iterable[str], *, timeout: float) -> dict[str, Execution]:
    """Wait until all of these executions are over, and return them by id."""
    wanted = [UUID(text) for text in ids]
    open_ones = Execution.objects.filter(id__in=wanted, outcome__isnull=True)
    try:
        until("executions to finish", lambda: not open_ones.exists(), timeout=timeout)
    except ScenarioError as error:
        waiting = ", ".join(f"{row.task} {row.id} ({row.engine}, {row.phase})" for row in open_ones[:5])
        raise ScenarioError(f"{error} Still open: {waiting}.") from None
    return {str(row.id): row for row in Execution.objects.filter(id__in=wanted)}


def seconds(execution: Execution) -> float:
    """From enqueue to the end."""
    ended = execution.finished_at
    return (ended - execution.created_at).total_seconds() if ended else 0.0


def result_text(execution: Execution) -> str:
    """The result, or why there is none, in a few words."""
    if execution.phase == "succeeded":
        result = execution.result
        return str(result.get("answer", result)) if isinstance(result, dict) else "succeeded"
    errors = reading.plain_errors(error["traceback"] for error in execution.errors)
    return f"{execution.phase}: {errors[-1] if errors else 'no reason recorded'}"


def inbox(message_id: str | None = None) -> dict[str, Any]:
    """Ask the inbox for its totals, and for one message."""
    query = urllib.parse.urlencode({"limit": 1} | ({"message_id": message_id} if message_id else {}))
    url = urllib.parse.urljoin(settings.TANDEM_INBOX_URL, f"/messages.json?{query}")
    with urllib.request.urlopen(url, timeout=REQUEST_SECONDS) as answer:  # noqa: S310 - the stack's own address
        return dict(json.load(answer))
