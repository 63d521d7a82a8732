"""What a person asks of executions and of routes while the system runs: cancel, retry, signal; set, kill, lift, unset."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from django.db import transaction
from django.tasks.exceptions import TaskResultDoesNotExist
from django.utils import timezone

from tandem import registry, values
from tandem.engines.base import Engine, Reference
from tandem.enqueueing import InvalidArguments, after_commit, send_after_commit
from tandem.exceptions import RouteError
from tandem.ledger import connection as ledger
from tandem.ledger import endings
from tandem.ledger.identity import read_id
from tandem.ledger.models import Override as Row
from tandem.ledger.operating import retries
from tandem.ledger.statement import Statement
from tandem.ledger.suspension import wakes
from tandem.phases import ENDED
from tandem.routes import Router, requirements
from tandem.routing import Kind, Override, problems

__all__ = [
    "cancel",
    "checked_by",
    "checked_signal",
    "kill",
    "lift",
    "retry",
    "set_default",
    "set_rule",
    "signal",
    "unset",
]


def cancel(result_id: str | UUID, *, by: str | None) -> Literal["cancelled", "requested", "finished"]:
    """Stop an execution and its unfinished children; see `TandemBackend.cancel`."""
    done = endings.cancel(_id(result_id), by=by, execute=ledger.execute_in_transaction)
    if done.phase is None:
        raise TaskResultDoesNotExist(result_id)
    if done.parent is not None:
        _say_after_commit(wakes.wake_parent(done.parent))
    if done.stopped:
        after_commit(
            lambda: endings.announce(done.stopped, execute=ledger.execute_in_transaction),
            what="`task_finished` is not sent",
        )
    if done.phase in ENDED:
        return "finished"
    return "requested" if done.phase == "running" else "cancelled"


def retry(result_id: str | UUID, *, engine: str | None, router: Router, engines: Mapping[str, Engine]) -> None:
    """Run an execution again from its last finished step; see `TandemBackend.retry`."""
    id_ = _id(result_id)
    found = ledger.execute_in_transaction(retries.phase_of(id_))
    if found is None:
        raise TaskResultDoesNotExist(result_id)
    task = registry.resolve(found.task)
    if engine is not None:
        router.decide(router.facts(task=found.task, key=str(id_), requires=requirements(task), pinned=engine))
    row = ledger.execute_in_transaction(retries.retry(id=id_, engine=engine))
    if row is None:
        raise ValueError(
            f"{found.task} {result_id} is {found.phase}: only failed, dead, cancelled, parked or held executions"
            " can be retried."
        )
    reference = Reference(
        id=row.id, task=row.task, queue=row.queue, priority=row.priority, dispatch_number=row.dispatch_number
    )
    send_after_commit(engines, row.engine, [reference])


def checked_by(by: object) -> str | None:
    """Who asks, by name or primary key; raises `InvalidValue`."""
    return None if by is None else values.name(by, what="by", least=0, most=255)


def checked_signal(name: str, payload: Any, *, limit: int) -> tuple[str, Any]:
    """A signal's name, and its payload as JSON has it; raises `InvalidValue` for the name, `InvalidTask` for the payload."""
    name = values.name(name, what="A signal's name", most=200)
    try:
        return name, json.loads(values.encode(payload, what=f"The payload of signal {name!r}", limit=limit))
    except values.InvalidValue as error:
        raise InvalidArguments(str(error)) from error


def signal(result_id: str | UUID, name: str, value: Any, *, by: str | None) -> None:
    """Send a checked signal to an execution; see `TandemBackend.signal`."""
    id_ = _id(result_id)
    if not ledger.execute_in_transaction(wakes.send_signal(id=id_, name=name, payload=value, by=by)):
        found = ledger.execute_in_transaction(retries.phase_of(id_))
        if found is None:
            raise TaskResultDoesNotExist(result_id)
        raise ValueError(f"{found.task} {result_id} is {found.phase}: no signal can reach it any more.")
    _say_after_commit(wakes.wake(id_))


def _say_after_commit(statement: Statement[bool]) -> None:
    """Wake an execution once the caller's transaction has committed: it locks its row only for that moment."""

    def say() -> None:
        ledger.execute_in_transaction(statement)

    after_commit(say, what="nobody was woken for it")


def _id(result_id: object) -> UUID:
    id_ = read_id(result_id)
    if id_ is None:
        raise TaskResultDoesNotExist(result_id)
    return id_


def set_rule(router: Router, *, pattern: str, engine: str, percent: Decimal | None, author: str) -> Override:
    """Pin the tasks of `pattern` to `engine`, or send a percentage of them there; replaces the pattern's override."""
    kind = Kind.PIN if percent is None else Kind.PERCENT
    return _store(router, Override(kind=kind, pattern=pattern, engine=engine, percent=percent, author=author))


def set_default(router: Router, *, engine: str, author: str) -> Override:
    """Send what no other rule names to `engine`."""
    return _store(router, Override(kind=Kind.DEFAULT, engine=engine, author=author))


def kill(router: Router, *, engine: str, author: str, reason: str = "") -> Override:
    """Stop new rows going to `engine`; what was sent finishes."""
    return _store(router, Override(kind=Kind.KILL, engine=engine, author=author, reason=reason))


def lift(router: Router, *, engine: str, author: str) -> bool:
    """Lift a kill switch, wherever it was set; False where there is none."""
    rules = router.rules(fresh=True)
    if engine not in rules.kills:
        return False
    Row.objects.filter(kind="kill", engine=engine).delete()
    if engine in router.rules(fresh=True).kills:
        _store(router, Override(kind=Kind.OFF, engine=engine, author=author))
    return True


def unset(router: Router, *, pattern: str) -> bool:
    """Remove the override of a pattern (or `default`), so that settings hold again; False where there is none."""
    rows = Row.objects.filter(kind="default") if pattern == "default" else Row.objects.filter(pattern=pattern)
    deleted, _ = rows.delete() if pattern else (0, {})
    router.rules(fresh=True)
    return bool(deleted)


def _store(router: Router, override: Override) -> Override:
    found = problems([override], list(registry.registered_tasks()), list(router.engines))
    if found:
        raise RouteError(" ".join(found))
    with transaction.atomic(using="default"):
        slot, name = override.slot
        if slot == "default":
            Row.objects.filter(kind="default").delete()
        elif slot == "pattern":
            Row.objects.filter(pattern=name).delete()
        else:
            Row.objects.filter(pattern="", engine=name).exclude(kind="default").delete()
        Row.objects.create(
            kind=Kind(override.kind).value,
            pattern=override.pattern,
            engine=override.engine,
            percent=override.percent,
            salt=override.salt,
            reason=override.reason,
            author=override.author,
            created_at=timezone.now(),
        )
    router.rules(fresh=True)
    return override
