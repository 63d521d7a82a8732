"""What follows a statement that ended an execution, or took it from a process that is gone: its parent hears of it."""

import logging
from collections.abc import Callable, Iterable
from uuid import UUID

from tandem.ledger import cancel as cancelling
from tandem.ledger import connection as ledger
from tandem.ledger import waking
from tandem.ledger.statements import Statement

__all__ = ["cancel", "settle", "tell_parent"]

type _Execute = Callable[[Statement[cancelling.Cancelled]], cancelling.Cancelled]


def cancel(id_: UUID, *, by: str | None, execute: _Execute) -> cancelling.Cancelled:
    """End or ask an execution and all its unfinished children; answers what was done to itself.

    What runs may have borne children while this waited for its row. Once asked, it bears none.
    """
    statement = cancelling.cancel(id=id_, by=by)
    done = look = execute(statement)
    while look.asked:
        look = execute(statement)
    return done


def tell_parent(parent: UUID | None) -> None:
    """Wake the parent of an execution whose end is committed, where it has one and this was the last child."""
    if parent is not None:
        ledger.execute(waking.wake_parent(parent))


def settle(taken: Iterable[tuple[UUID, str | None, UUID | None]], *, lost: str, logger: logging.Logger) -> None:
    """Log each execution that was taken over, which `lost` something, and tell the parents of those that ended.

    `taken` are `(id, outcome, parent)`, as `agenda.take_over` reads them.
    """
    for id_, outcome, parent in taken:
        logger.warning("%s lost %s: %s.", id_, lost, outcome or "it is sent again")
        if outcome is not None:
            tell_parent(parent)
