"""The phases of an execution, finer than Django's four statuses, and their sets."""

from collections.abc import Mapping
from typing import Final

from django.tasks import TaskResultStatus

__all__ = ["ENDED", "ENDED_SQL", "STATUS_OF_PHASE"]

STATUS_OF_PHASE: Final[Mapping[str, TaskResultStatus]] = {
    "queued": TaskResultStatus.READY,
    "deferred": TaskResultStatus.READY,
    "retrying": TaskResultStatus.READY,
    "held": TaskResultStatus.READY,
    "sleeping": TaskResultStatus.READY,
    "waiting": TaskResultStatus.READY,
    "parked": TaskResultStatus.READY,
    "running": TaskResultStatus.RUNNING,
    "succeeded": TaskResultStatus.SUCCESSFUL,
    "failed": TaskResultStatus.FAILED,
    "dead": TaskResultStatus.FAILED,
    "cancelled": TaskResultStatus.FAILED,
}

ENDED: Final = ("succeeded", "failed", "dead", "cancelled")
"""The phases that are an execution's outcome."""

ENDED_SQL: Final = ", ".join(f"'{phase}'" for phase in ENDED)
"""The same, as SQL has a list of them."""
