"""Putting right what the ledger and Restate disagree on: killed, paused, purged or never arrived."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from tandem.engines.base import Reference
from tandem.engines.restate.messages import Requests, RestateRefused, State
from tandem.engines.restate.targets import NAME
from tandem.ledger import connection as ledger
from tandem.ledger.identity import read_id
from tandem.ledger.relaying import backlog, runtime

__all__ = ["Reconciler"]

logger = logging.getLogger("tandem.restate")

_ASKED: Final = 200
_PAUSED_SECONDS: Final = 20.0
_LONGEST_AGE: Final = 3600.0


@dataclass(kw_only=True)
class Reconciler:
    """Asks Restate about rows that should have moved on, and records what it put right with the reason.

    `ask` makes one request, `inspect` asks what became of references; both raise `BrokerUnavailable`.
    """

    requests: Requests
    ask: Callable[[Any], Any]
    inspect: Callable[[Sequence[Reference]], dict[UUID, State]]
    _age: float = 0.0
    _looked_at: float = float("-inf")
    _paused_after: str = ""

    def run(self, lease: float) -> int:
        """Ask about rows that should have moved on, at most 200 a round, and make due what Restate no longer has.

        Who was seen alive is asked again after `lease` seconds; when a round is full that age grows, so that all
        get their turn. Raises `BrokerUnavailable`.
        """
        if time.monotonic() - self._looked_at >= _PAUSED_SECONDS:
            # First: should this be refused, the rest is looked at all the same, in the rounds between.
            self._looked_at = time.monotonic()
            self._resume_paused()
        self._age = max(self._age, lease)
        queues = [queue for engine, queue in ledger.execute(backlog.queues()) if engine == NAME]
        lost = 0
        full = False
        for queue in queues:
            limit = max(1, _ASKED // len(queues))
            suspects = ledger.execute(
                runtime.suspects(engine=NAME, queue=queue, age=self._age, lease=lease, limit=limit)
            )
            full = full or len(suspects) == limit
            lost += self._put_right(suspects)
        if lost:
            logger.warning("%d execution(s) are not, or no longer, with restate and are sent again.", lost)
        self._age = min(self._age * 1.5, _LONGEST_AGE) if full else max(self._age / 1.5, lease)
        return lost

    def _put_right(self, suspects: Sequence[Reference]) -> int:
        """Act on what Restate says of a few rows; answers how many are due again."""
        lost = set(self.lost(suspects))
        alive = [item.id for item in suspects if item not in lost]
        if alive:
            ledger.execute(runtime.seen_alive(alive, engine=NAME))
        return len(lost)

    def lost(self, suspects: Sequence[Reference]) -> list[Reference]:
        """Make due again those whose invocation has ended, or is not known."""
        states = self.inspect(suspects)
        lost = {item: _fate(states[item.id]) for item in suspects if states[item.id].kind in {"absent", "ended"}}
        if lost:
            ledger.execute(runtime.send_again(lost, engine=NAME))
        return list(lost)

    def _resume_paused(self) -> None:
        """Have paused invocations go on whose executions have not ended: the runtime itself never pauses ours."""
        paused: dict[UUID, tuple[int, str]] = {}
        rows_paused = self.ask(self.requests.paused(after=self._paused_after, limit=_ASKED))
        # Others' stay paused, in a Restate that is shared: they must not be all that is ever looked at.
        self._paused_after = str(rows_paused[-1]["id"]) if len(rows_paused) == _ASKED else ""
        for row in rows_paused:
            id_, _, dispatch_number = str(row.get("idempotency_key") or row.get("target_service_key")).rpartition(".")
            if dispatch_number.isdecimal() and (found := read_id(id_)) is not None:
                paused[found] = (int(dispatch_number), str(row["id"]))
        resumed: list[UUID] = []
        for found, current in ledger.execute(runtime.unfinished(list(paused), engine=NAME)).items() if paused else ():
            dispatch_of_paused, invocation = paused[found]
            if dispatch_of_paused != current:
                continue
            try:
                self.ask(self.requests.resume(invocation))
                resumed.append(found)
            except RestateRefused as error:
                logger.warning("The invocation of %s is paused, and was not resumed: %s", found, error)
        if resumed:
            ledger.execute(runtime.reconciled(resumed, reason="its invocation was paused: resumed"))


def _fate(state: State) -> tuple[bool, str]:
    """Whether an invocation has ended, and what to record of it."""
    if state.kind == "absent":
        return False, "Restate does not know its invocation: it never arrived, or was purged"
    return True, f"its invocation ended without it ({state.detail or 'killed, or answered by itself'})"
