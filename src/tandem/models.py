"""Where Django looks for an app's models: they are the ledger's."""

from tandem.ledger.models import (
    Event,
    Execution,
    Override,
    PendingCancellation,
    Phase,
    Progress,
    Signal,
    Step,
    Worker,
)

__all__ = ["Event", "Execution", "Override", "PendingCancellation", "Phase", "Progress", "Signal", "Step", "Worker"]
