"""What the statements of a suspending call have in common: the attempt that asks, and the step that it has open."""

from typing import Any, Final

from tandem.ledger.hot.attempts import HELD
from tandem.ledger.rows import Lease

__all__ = ["HOLDER", "STEP", "step_parameters"]

STEP: Final = "execution_id = %(id)s AND name = %(name)s AND occurrence = %(occurrence)s"

HOLDER: Final = f"SELECT id, wake_generation, cancel_requested_at FROM tandem_execution WHERE {HELD}"


def step_parameters(lease: Lease, *, name: str, occurrence: int, position: int = 0) -> dict[str, Any]:
    """Return the parameters that name a step of an attempt."""
    return {
        "id": lease.id,
        "fence": lease.fence,
        "name": name,
        "occurrence": occurrence,
        "position": position,
        "worker": lease.worker,
    }
