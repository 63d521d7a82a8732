"""Celery's side of durable calls: the ledger is all of it, and a prefork parent reads whose body runs, and until when."""

from tandem.engines.celery.seats import Seat
from tandem.execution.attempt import Attempt
from tandem.execution.durable import Durable

__all__ = ["CeleryDurable"]


class CeleryDurable(Durable):
    """What sleeps or waits gives its worker back; the relay sends it again. `seat` is where a prefork parent reads."""

    def __init__(self, seat: Seat | None = None) -> None:
        self._seat = seat

    def take(self, attempt: Attempt) -> None:
        """Say in the seat, too, whose body runs, and until when."""
        super().take(attempt)
        if self._seat is not None:
            self._seat.hold(attempt.lease, attempt.deadline)
