"""What a person asks of an execution: cancel it, retry it, send it a signal."""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from django.tasks.exceptions import TaskResultDoesNotExist

from tandem import registry
from tandem.arguments import encodable
from tandem.engines.base import Engine, Reference
from tandem.ledger import connection as ledger
from tandem.ledger import endings, manual, waking
from tandem.ledger.statements import Statement
from tandem.router import Router, requirements
from tandem.transactions import after_commit, send_after_commit

__all__ = ["cancel", "checked_payload", "retry", "signal"]


def cancel(result_id: str, *, by: str | None) -> Literal["cancelled", "requested", "finished"]:
    """Stop an execution and its unfinished children; see `TandemBackend.cancel`."""
    done = endings.cancel(_uuid(result_id), by=by, execute=ledger.execute_in_transaction)
    if done.phase is None:
        raise TaskResultDoesNotExist(result_id)
    if done.parent is not None:
        _say_after_commit(waking.wake_parent(done.parent))
    if done.stopped:
        after_commit(
            lambda: endings.announce(done.stopped, execute=ledger.execute_in_transaction),
            what="nobody was told of its end",
        )
    if done.phase in {"succeeded", "failed", "dead", "cancelled"}:
        return "finished"
    return "requested" if done.phase == "running" else "cancelled"


def retry(result_id: str, *, engine: str | None, router: Router, engines: Mapping[str, Engine]) -> None:
    """Run an execution again from its last finished step; see `TandemBackend.retry`."""
    id_ = _uuid(result_id)
    found = ledger.execute_in_transaction(manual.phase_of(id_))
    if found is None:
        raise TaskResultDoesNotExist(result_id)
    task = registry.resolve(found.task)
    if engine is not None:
        router.decide(router.facts(task=found.task, key=result_id, requires=requirements(task), pinned=engine))
    row = ledger.execute_in_transaction(manual.retry(id=id_, engine=engine))
    if row is None:
        raise ValueError(
            f"{found.task} {result_id} is {found.phase}: only failed, dead, cancelled, parked or held executions"
            " can be retried."
        )
    reference = Reference(id=row.id, task=row.task, queue=row.queue, priority=row.priority, dispatch=row.dispatch)
    send_after_commit(engines, row.engine, [reference])


def checked_payload(name: str, payload: Any, *, limit: int) -> Any:
    """A signal's payload as JSON has it; raises `ValueError` for its name, `InvalidTask` for its payload."""
    if not 0 < len(name) <= 200:  # noqa: PLR2004  # the column's length
        raise ValueError(f"A signal's name must have 1 to 200 characters, not {len(name)}.")
    return encodable(payload, what=f"The payload of signal {name!r}", limit=limit)


def signal(result_id: str, name: str, value: Any, *, by: str | None) -> None:
    """Send a signal with a checked payload to an execution; see `TandemBackend.signal`."""
    id_ = _uuid(result_id)
    if not ledger.execute_in_transaction(waking.send_signal(id=id_, name=name, payload=value, by=by)):
        found = ledger.execute_in_transaction(manual.phase_of(id_))
        if found is None:
            raise TaskResultDoesNotExist(result_id)
        raise ValueError(f"{found.task} {result_id} is {found.phase}: no signal can reach it any more.")
    _say_after_commit(waking.wake(id_))


def _say_after_commit(statement: Statement[bool]) -> None:
    """Wake an execution once the caller's transaction has committed: it locks its row only for that moment."""

    def say() -> None:
        ledger.execute_in_transaction(statement)

    after_commit(say, what="nobody was woken for it")


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise TaskResultDoesNotExist(text) from None
