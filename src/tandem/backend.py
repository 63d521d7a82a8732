"""The Django Tasks backend: routing, the ledger's row, and, once that committed, the engine.

`enqueue` outside a transaction costs one INSERT and one round trip to the broker or runtime. A broker that is down
fails no caller: the row waits, and the relay sends it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from uuid import UUID

from asgiref.sync import sync_to_async
from django.core.checks import CheckMessage
from django.db import transaction
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.tasks.signals import task_enqueued
from django.utils import timezone

from tandem.configuration import Configuration
from tandem.declarations import BoundCall, Call, Task, TaskResult
from tandem.engines.base import CAPABILITIES, Engine
from tandem.engines.factory import engines_of
from tandem.engines.memory import MemoryEngine, copied
from tandem.enqueueing import (
    InvalidArguments,
    LazyResults,
    encoded_arguments,
    is_heard,
    reference_of,
    result_of_call,
    row_of_call,
    send_after_commit,
    warn_of_other_transactions,
)
from tandem.ledger import connection as ledger
from tandem.ledger.hot import inserts
from tandem.ledger.identity import new_id, new_ids, read_id
from tandem.ledger.operating import pruning, retries
from tandem.ledger.rows import Claim, NewExecution
from tandem.ledger.statement import Statement
from tandem.ledger.suspension.families import Child
from tandem.routes import Router, requirements
from tandem.routing import Decision

__all__ = ["InvalidArguments", "TandemBackend"]

BATCH: Final = 1_000

if TYPE_CHECKING:
    from django.tasks.base import Task as DjangoTask


class TandemBackend(BaseTaskBackend):
    """`TASKS = {"default": {"BACKEND": "tandem.TandemBackend", ...}}`; see `Configuration` for `OPTIONS`."""

    task_class = Task
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.configuration = Configuration.read(alias, params)

    @cached_property
    def engines(self) -> Mapping[str, Engine]:
        """The configured engines by name, shared by all threads of the process."""
        return engines_of(self.configuration)

    @cached_property
    def router(self) -> Router:
        """The rules in force; building it raises `RouteError` for a rule with a typo."""
        return Router(self.configuration, {name: engine.supports for name, engine in self.engines.items()})

    def validate_task(self, task: "DjangoTask[..., Any]") -> None:
        """As Django's, and what Tandem's own options must be; raises `InvalidTask`."""
        super().validate_task(task)
        if isinstance(task, Task):
            for name in task.requires:
                if name not in CAPABILITIES:
                    raise InvalidTask(
                        f"{task.module_path} requires {name!r}, which no engine has; known: {sorted(CAPABILITIES)}."
                    )

    def enqueue(  # type: ignore[override]  # our result is the task's own class, which the stubs' generics cannot say
        self, task: "DjangoTask[..., Any]", args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> TaskResult:
        """Write the row and, once it committed, send it.

        Raises `InvalidTask` for arguments that are not JSON or too large, `RouteError` where no engine can serve.
        An idempotency key that is taken answers the first call's result.
        """
        task = Task.of(task)
        self.validate_task(task)
        arguments = encoded_arguments(task, args, kwargs, limit=self.configuration.max_arguments_bytes)
        id_ = new_id()
        new = self._row(task, self._decide(task, id_), id_, arguments)
        memory = self.engines[new.engine]
        if isinstance(memory, MemoryEngine):
            return memory.accept(self._result(task, new, id_, arguments, timezone.now()), key=task.idempotency_key)
        warn_of_other_transactions()
        # Made before the row is written: what cannot be made is then refused, and not sent.
        result = self._result(task, new, id_, arguments, timezone.now())
        created = ledger.execute_in_transaction(inserts.insert_one(new))
        if created is None and ledger.execute_in_transaction(self._free_key(task)):
            created = ledger.execute_in_transaction(inserts.insert_one(new))
        if created is None:
            return self._existing(task)
        object.__setattr__(result, "enqueued_at", created)
        if new.phase == "queued":
            send_after_commit(self.engines, new.engine, [reference_of(new, id_)])
        if is_heard(task_enqueued):
            # What hears of it cannot undo it: the row is written, and sent.
            task_enqueued.send_robust(type(self), task_result=result)
        return result

    def enqueue_many(self, task: "DjangoTask[..., Any]", calls: Iterable[Call]) -> Sequence[TaskResult]:
        """Write and send many calls of one task, 1,000 rows to an INSERT, all in one transaction.

        Raises as `enqueue` does, before anything is written. An idempotency key cannot name many calls. The results
        come in the order of the calls, and each is made when it is looked at.
        """
        task = Task.of(task)
        self.validate_task(task)
        if task.idempotency_key is not None:
            raise InvalidTask("enqueue_many() takes no idempotency_key: it would name all its calls. Use enqueue().")
        limit = self.configuration.max_arguments_bytes
        texts = [encoded_arguments(task, args, kwargs, limit=limit) for args, kwargs in calls]
        ids = new_ids(len(texts))
        groups: dict[Decision, list[int]] = {}
        if ids and self.router.is_uniform(task.module_path):
            groups[self._decide(task, ids[0])] = list(range(len(ids)))
        else:
            for place, id_ in enumerate(ids):
                groups.setdefault(self._decide(task, id_), []).append(place)
        rows = {decision: self._row(task, decision, ids[places[0]], "") for decision, places in groups.items()}
        memory = any(isinstance(self.engines[row.engine], MemoryEngine) for row in rows.values())
        created = timezone.now()
        if not memory:
            warn_of_other_transactions()
            with transaction.atomic(using=ledger.LEDGER_DATABASE):
                for decision, places in groups.items():
                    created = self._insert(rows[decision], [ids[at] for at in places], [texts[at] for at in places])
        row_at = {place: rows[decision] for decision, places in groups.items() for place in places}
        results = LazyResults(lambda at: self._result(task, row_at[at], ids[at], texts[at], created), count=len(texts))
        for at in range(len(texts)) if memory or is_heard(task_enqueued) else ():
            engine = self.engines[row_at[at].engine]
            if isinstance(engine, MemoryEngine):
                engine.accept(results[at])
            else:
                task_enqueued.send_robust(type(self), task_result=results[at])
        return results

    def _insert(self, row: NewExecution, ids: list[UUID], texts: list[str]) -> datetime:
        for at in range(0, len(ids), BATCH):
            part = inserts.insert_many(row, ids=ids[at : at + BATCH], arguments=texts[at : at + BATCH])
            created = ledger.execute_in_transaction(part)
        if row.phase == "queued":
            send_after_commit(self.engines, row.engine, [reference_of(row, id_) for id_ in ids])
        return created

    async def aenqueue_many(self, task: "DjangoTask[..., Any]", calls: Iterable[Call]) -> Sequence[TaskResult]:
        """As `enqueue_many`, awaited."""
        return await sync_to_async(self.enqueue_many, thread_sensitive=True)(task, list(calls))

    def get_result(self, result_id: str | UUID) -> TaskResult:
        """Read an execution from any process; raises `TaskResultDoesNotExist`."""
        from tandem import registry  # noqa: PLC0415  # the registry imports tasks, which need the apps loaded
        from tandem.ledger.models import Execution  # noqa: PLC0415  # models need the apps loaded
        from tandem.ledger.results import result_of_row  # noqa: PLC0415  # as above

        if (kept := self._kept(result_id)) is not None:
            return copied(kept[1])
        id_ = read_id(result_id)
        if id_ is None or not ledger.is_postgresql():
            raise TaskResultDoesNotExist(result_id)
        try:
            row = Execution.objects.using(ledger.LEDGER_DATABASE).select_related("progress_row").get(pk=id_)
        except Execution.DoesNotExist:
            raise TaskResultDoesNotExist(result_id) from None
        return result_of_row(registry.resolve(row.task), row, getattr(row, "progress_row", None))

    def cancel(
        self, result_id: str | UUID, *, by: str | int | UUID | None = None
    ) -> Literal["cancelled", "requested", "finished"]:
        """Stop an execution: at once where no worker holds it, else its body sees `Cancelled` at its next call.

        Answers which; `finished` where it was over. Raises `TaskResultDoesNotExist`.
        """
        from tandem import operations  # noqa: PLC0415  # as in get_result

        by = operations.checked_by(by)
        if (kept := self._kept(result_id)) is not None:
            return kept[0].cancel_result(kept[1], by=by)
        return operations.cancel(result_id, by=by)

    def retry(self, result_id: str | UUID, *, engine: str | None = None) -> None:
        """Run a failed, dead, cancelled, parked or held execution again, from its last finished step.

        It stays on its engine unless `engine` names another. Raises `RouteError` where that one cannot serve it,
        `ValueError` where there is nothing to retry, `TaskResultDoesNotExist`.
        """
        from tandem import operations  # noqa: PLC0415  # as in get_result

        if (kept := self._kept(result_id)) is not None:
            if engine is not None:
                self._decide(kept[1].task.called(engine=engine), UUID(kept[1].id))
            kept[0].retry_result(kept[1], engine=engine)
            return
        operations.retry(result_id, engine=engine, router=self.router, engines=self.engines)

    def signal(
        self, result_id: str | UUID, name: str, payload: Any = None, *, by: str | int | UUID | None = None
    ) -> None:
        """Send a signal to an execution, which keeps it until its body asks for one of that name with `wait`.

        Inside a transaction it is sent with it. Raises `ValueError` where the execution is over, `InvalidTask` for a
        payload that is not JSON or too large, `TaskResultDoesNotExist`.
        """
        from tandem import operations  # noqa: PLC0415  # as in get_result

        by = operations.checked_by(by)
        name, value = operations.checked_signal(name, payload, limit=self.configuration.max_arguments_bytes)
        if (kept := self._kept(result_id)) is not None:
            kept[0].signal_result(kept[1], name, value, by=by)
            return
        operations.signal(result_id, name, value, by=by)

    def child(self, call: BoundCall, *, id_: UUID, parent: Claim) -> Child:
        """The row of a call that a body makes, on the parent's engine before any rule; raises `RouteError`."""
        task = Task.of(call.task)
        self.validate_task(task)
        text = encoded_arguments(task, call.args, call.kwargs, limit=self.configuration.max_arguments_bytes)
        decision = self._decide(task, id_, parent_engine=parent.engine)
        return Child(
            id=str(id_),
            task=task.module_path,
            queue=task.queue_name,
            priority=task.priority,
            arguments=json.loads(text),
            engine=decision.engine,
            reason=decision.reason[:255],
            phase="held" if decision.held else "queued",
        )

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Django's system check of this backend."""
        from tandem.checks import check_backend  # noqa: PLC0415  # checks import the registry

        return check_backend(self)

    def _kept(self, result_id: str | UUID) -> tuple[MemoryEngine, TaskResult] | None:
        """A result that is kept in memory, and by whom; raises `TaskResultDoesNotExist` where there is no ledger to ask."""
        for engine in self.engines.values():
            if isinstance(engine, MemoryEngine) and (found := engine.result(str(result_id))) is not None:
                return engine, found
        if self.configuration.in_memory:
            raise TaskResultDoesNotExist(result_id)
        return None

    def _decide(self, task: Task, id_: UUID, *, parent_engine: str | None = None) -> Decision:
        return self.router.decide(
            self.router.facts(
                task=task.module_path,
                key=task.idempotency_key or str(id_),
                requires=requirements(task),
                pinned=task.engine,
                parent_engine=parent_engine,
                queue=task.queue_name,
                priority=task.priority,
            )
        )

    def _row(self, task: Task, decision: Decision, id_: UUID, arguments: str) -> NewExecution:
        return row_of_call(arguments, task=task, decision=decision, id_=id_, engine=self.engines[decision.engine])

    def _free_key(self, task: Task) -> Statement[bool]:
        key, days = cast("str", task.idempotency_key), self.configuration.idempotency_days
        return pruning.free_key(task=task.module_path, key=key, days=days)

    def _existing(self, task: Task) -> TaskResult:
        key = cast("str", task.idempotency_key)
        found = ledger.execute_in_transaction(retries.by_idempotency_key(task=task.module_path, key=key))
        if found is None:
            raise TaskResultDoesNotExist(f"The execution with idempotency key {key!r} was just pruned; enqueue again.")
        return self.get_result(str(found))

    def _result(self, task: Task, row: NewExecution, id_: UUID, arguments: str, created: datetime) -> TaskResult:
        return result_of_call(arguments, task=task, row=row, id_=id_, created=created, backend=self.alias)
