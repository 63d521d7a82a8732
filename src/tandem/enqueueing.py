"""A call becomes a row and, once its transaction committed, a send: its arguments, its row, its result, and after commit."""

import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Final, overload
from uuid import UUID

from django.db import connections, transaction
from django.dispatch import Signal
from django.tasks.exceptions import InvalidTask

from tandem.declarations import Task, TaskResult
from tandem.engines.base import Engine, Reference
from tandem.exceptions import BrokerUnavailable, TimeLimitExceeded
from tandem.ledger import connection as ledger
from tandem.ledger.hot import inserts
from tandem.ledger.rows import NewExecution
from tandem.ledger.times import as_django, in_utc
from tandem.phases import STATUS_OF_PHASE
from tandem.routing import Decision
from tandem.telemetry import current_trace
from tandem.values import InvalidValue, encode, shown

__all__ = [
    "InvalidArguments",
    "LazyResults",
    "after_commit",
    "encoded_arguments",
    "is_heard",
    "reference_of",
    "result_of_call",
    "row_of_call",
    "send_after_commit",
    "warn_of_other_transactions",
]

logger = logging.getLogger("tandem.backend")

_CALLER_SECONDS: Final = 2.0


def row_of_call(arguments: str, *, task: Task, decision: Decision, id_: UUID, engine: Engine) -> NewExecution:
    """The row that keeps a call whose encoded arguments are given; `engine` is the one that `decision` names."""
    due_at = None if task.run_after is None else in_utc(task.run_after)
    deferred = due_at is not None and due_at > datetime.now(UTC)
    phase = "held" if decision.held else "deferred" if deferred else "queued"
    return NewExecution(
        id=id_,
        task=task.module_path,
        queue=task.queue_name,
        priority=task.priority,
        arguments=arguments,
        engine=decision.engine,
        reason=decision.reason[:255],
        pinned=task.engine is not None,
        phase=phase,
        owner=task.owner,
        trace=current_trace(),
        idempotency_key=task.idempotency_key,
        due_at=due_at.astimezone(UTC) if due_at is not None and deferred else None,
        broker_epoch=engine.epoch() if phase == "queued" else None,
    )


def result_of_call(
    arguments: str, *, task: Task, row: NewExecution, id_: UUID, created: datetime, backend: str
) -> TaskResult:
    """The result of a call that is kept in `row`, but for its id and arguments: the calls of one batch share their row.

    It is what the row says, and so what a reader gets: the arguments as JSON has them, and no time that is over.
    """
    return TaskResult(
        task=task.called(idempotency_key=None, run_after=None if row.due_at is None else as_django(row.due_at)),
        id=str(id_),
        status=STATUS_OF_PHASE[row.phase],
        enqueued_at=as_django(created),
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        **json.loads(arguments),
        backend=backend,
        errors=[],
        worker_ids=[],
        phase=row.phase,
        engine=row.engine,
        reason=row.reason,
        owner=row.owner,
    )


class LazyResults(Sequence[TaskResult]):
    """The results of many calls; each is made when it is first looked at, since few callers look at 10,000."""

    def __init__(self, make: Callable[[int], TaskResult], *, count: int) -> None:
        self._make = make
        self._made: list[TaskResult | None] = [None] * count

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, index: int) -> TaskResult: ...
    @overload
    def __getitem__(self, index: slice) -> list[TaskResult]: ...
    def __getitem__(self, index: int | slice) -> TaskResult | list[TaskResult]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self._made))[index]
        made = self._made[at]
        if made is None:
            made = self._made[at] = self._make(at)
        return made


class InvalidArguments(InvalidTask, TypeError):
    """Arguments that the ledger cannot keep. A `TypeError` too, which is what Django's own backends raise."""


def encoded_arguments(task: Task, args: object, kwargs: object, *, limit: int) -> str:
    """Encode one call's arguments; raises `InvalidArguments` for what is not JSON, cannot be stored or is too large."""
    named = isinstance(kwargs, Mapping) and all(isinstance(key, str) for key in kwargs)
    if not named or not isinstance(args, Sequence) or isinstance(args, str):
        raise InvalidArguments(
            f"{task.module_path}: a call is a list of arguments and a dictionary of named ones, not {shown(args)} and"
            f" {shown(kwargs)}."
        )
    try:
        return encode({"args": args, "kwargs": kwargs}, what="the arguments", limit=limit)
    except InvalidValue as error:
        raise InvalidArguments(
            f"{task.module_path}: {error} Pass strings, numbers, lists, dictionaries, and the keys of rows instead of"
            " the rows; store what is large (OPTIONS['MAX_ARGUMENTS_BYTES']) elsewhere, and pass where it is."
        ) from error


def after_commit(call: Callable[[], None], *, what: str) -> None:
    """Make a call once the ledger's transaction commits, or at once where there is none.

    Nothing that it raises reaches the caller, whose rows are written: it is logged, with `what` is late for it.
    """

    def call_safely() -> None:
        try:
            call()
        except TimeLimitExceeded:
            # The body's own, whatever it was doing.
            raise
        except Exception:
            logger.exception("What was enqueued or said is kept, but %s, which the relay will do.", what)

    if connections[ledger.LEDGER_DATABASE].in_atomic_block:
        transaction.on_commit(call_safely, using=ledger.LEDGER_DATABASE)
    else:
        call_safely()


def send_after_commit(engines: Mapping[str, Engine], name: str, references: Sequence[Reference]) -> None:
    """Push to the engine `name` once the ledger's transaction commits, or at once where there is none."""
    after_commit(lambda: _send(engines, name, references), what=f"{len(references)} execution(s) were not sent")


def _send(engines: Mapping[str, Engine], name: str, references: Sequence[Reference]) -> None:
    """Push what committed, part by part, for as long as a caller may be held.

    What was not pushed, for a failure or the time, is written on the rows, for the relay, and is no error of the caller's.
    """
    began, engine = monotonic(), engines[name]
    for start in range(0, len(references), engine.push_size):
        part, left = references[start : start + engine.push_size], [reference.id for reference in references[start:]]
        if start and monotonic() - began > _CALLER_SECONDS:
            logger.warning(
                "%s takes long: %d of %d execution(s) are left to the relay.", name, len(left), len(references)
            )
            ledger.execute_in_transaction(inserts.mark_unsent(left))
            return
        try:
            epoch = engine.submit(part)
        except BrokerUnavailable:
            # Logged once by who keeps the connection, not at each enqueue.
            ledger.execute_in_transaction(inserts.mark_unsent(left))
            return
        except BaseException:
            ledger.execute_in_transaction(inserts.mark_unsent(left))
            raise
        if epoch is not None and any(reference.broker_epoch != epoch for reference in part):
            ledger.execute_in_transaction(inserts.mark_sent(left[: len(part)], epoch))


def warn_of_other_transactions() -> None:
    """Warn the caller's caller, who called a task's enqueue, of an open transaction of another database."""
    for alias in connections:
        if alias != ledger.LEDGER_DATABASE and connections[alias].in_atomic_block:
            warnings.warn(
                f"enqueue() inside a transaction of database {alias!r}: Tandem's row is written to"
                f" {ledger.LEDGER_DATABASE!r}, so it commits whether that transaction does or not.",
                RuntimeWarning,
                # Past this function, the backend's and the task's: the line that calls a task's enqueue.
                stacklevel=4,
            )


def is_heard(signal: Signal) -> bool:
    """Whether anybody but Django's own debug log would hear a signal: 10,000 of them cost as much as their rows."""
    return len(signal.receivers) > 1 or logging.getLogger("django.tasks").isEnabledFor(logging.DEBUG)


def reference_of(row: NewExecution, id_: UUID) -> Reference:
    """What a broker carries of a row that was just written."""
    return Reference(id=id_, task=row.task, queue=row.queue, priority=row.priority, broker_epoch=row.broker_epoch)
