"""Tandem's Task and TaskResult: Django's own, with what durable work needs.

`@task(retries=, backoff=, ...)` sets a task's options; `.using(engine=, idempotency_key=, ...)` sets a call's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast
from uuid import UUID

from django.tasks import Task as DjangoTask
from django.tasks import TaskResult as DjangoTaskResult
from django.utils import timezone

from tandem.exceptions import ConfigurationError, nearest
from tandem.options import read_call_options, unknown_option
from tandem.values import LONGEST, seconds, shown

if TYPE_CHECKING:
    from tandem.backend import TandemBackend

    # Generic in the stubs alone.
    _TaskBase = DjangoTask[..., Any]
    _TaskResultBase = DjangoTaskResult[..., Any]
else:
    _TaskBase, _TaskResultBase = DjangoTask, DjangoTaskResult

__all__ = ["BoundCall", "Call", "ProgressValue", "Task", "TaskResult"]

_CALL_OPTIONS: Final = ("priority", "queue_name", "run_after", "backend", "engine", "idempotency_key", "owner")


type Call = tuple[Sequence[Any], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(_TaskBase):
    """A Django task with Tandem's options.

    Set with `@task(...)`: `retries` after a failure (0: none), `backoff` seconds before the first of them, doubled
    each time up to `max_backoff`, with up to half of it taken off at random unless `jitter` is False; `max_age`
    seconds from enqueue, past which no retry starts; `time_limit` seconds for one attempt; `workflow` (True or a
    name) makes it a Restate Workflow of its own; `external` lets it be called through Restate's ingress; `requires`
    names capabilities that the engine must have.

    Set with `.using(...)`: `engine` pins the call, `idempotency_key` makes a second call answer the first one's
    result, `owner` says whose it is.
    """

    known: ClassVar[dict[str, "Task"]] = {}

    retries: int = 0
    backoff: float = 1.0
    max_backoff: float = 600.0
    jitter: bool = True
    max_age: float | None = None
    time_limit: float | None = None
    workflow: bool | str = False
    external: bool = False
    requires: Sequence[str] = ()

    engine: str | None = None
    idempotency_key: str | None = None
    owner: str | None = None

    def __new__(cls, **options: Any) -> Self:
        """Refuse what no task takes, by the task's name; the dataclass itself would name neither it nor a way out."""
        for name in options:
            if name not in _FIELDS:
                known = [each for each in _FIELDS if each not in _NOT_DECORATED]
                raise unknown_option(name, options.get("func"), known)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        for name, value in read_call_options(self).items():
            object.__setattr__(self, name, value)
        super(Task, self).__post_init__()
        where = f"@task on {self.func.__module__}.{self.func.__qualname__}"
        retries: object = self.retries  # What a caller wrote, whatever the annotation says.
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise ConfigurationError(f"{where}: retries is {self.retries!r}, but must be a whole number from 0.")
        for name in ("backoff", "max_backoff"):
            wait: object = getattr(self, name)
            if not isinstance(wait, int | float) or not 0 <= wait <= LONGEST:
                raise ConfigurationError(f"{where}: {name} is {shown(wait)}, but must be seconds from 0 to 366 days.")
        for name in ("time_limit", "max_age"):
            limit: object = getattr(self, name)
            if limit is not None and (not isinstance(limit, int | float) or not 0 < limit <= LONGEST):
                raise ConfigurationError(f"{where}: {name} is {shown(limit)}, but must be above 0 s, to 366 days.")
        # The decorated task comes first; copies made by using() have its name.
        Task.known.setdefault(self.module_path, self)

    def __eq__(self, other: object) -> bool:
        """Whether both are one call of one function: another backend's task has no options but Django's."""
        if not isinstance(other, DjangoTask):
            return NotImplemented
        mine, theirs = fields(self), {item.name for item in fields(other)}
        return all(
            getattr(self, item.name) == (getattr(other, item.name) if item.name in theirs else item.default)
            for item in mine
        )

    def __hash__(self) -> int:
        return hash((self.func, self.priority, self.queue_name, self.run_after))

    @classmethod
    def of(cls, task: "DjangoTask[..., Any]") -> "Task":
        """Take a task as it is, or one that was declared under another backend's class, with what Django's options say."""
        if isinstance(task, Task):
            return task
        return cls(**{item.name: getattr(task, item.name) for item in fields(DjangoTask)})

    def called(self, **options: Any) -> Self:
        """Return the task as a call had it, unchecked: what a row says of a call holds whatever settings allow today."""
        if all(getattr(self, name) == value for name, value in options.items()):
            return self
        call = object.__new__(type(self))
        for item in fields(self):
            object.__setattr__(call, item.name, options.get(item.name, getattr(self, item.name)))
        return call

    def using(self, **changes: Any) -> Self:
        """Return a copy for one call: priority, queue_name, run_after, backend, engine, idempotency_key, owner.

        `idempotency_key` and `owner` may be what a primary key is: text, a whole number or a UUID. Raises
        `ConfigurationError` or Django's `InvalidTask` for what none of them can be.
        """
        for name in changes:
            if name not in _CALL_OPTIONS:
                raise TypeError(
                    f"using() got an unexpected keyword argument {name!r}{nearest(name, _CALL_OPTIONS)}"
                    f" It takes {', '.join(_CALL_OPTIONS)}."
                )
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def get_backend(self) -> "TandemBackend":
        """The backend, whose class made this task."""
        return cast("TandemBackend", super(Task, self).get_backend())

    def enqueue(self, *args: Any, **kwargs: Any) -> "TaskResult":
        """Write the row and, once it committed, send it; see `TandemBackend.enqueue`."""
        return self.get_backend().enqueue(self, args, kwargs)

    async def aenqueue(self, *args: Any, **kwargs: Any) -> "TaskResult":
        """As `enqueue`, awaited."""
        return cast("TaskResult", await self.get_backend().aenqueue(self, list(args), kwargs))

    def get_result(self, result_id: str | UUID) -> "TaskResult":
        """Read an execution of this task; raises `TaskResultDoesNotExist`, or `TaskResultMismatch` for another's."""
        return cast("TaskResult", super(Task, self).get_result(str(result_id)))

    async def aget_result(self, result_id: str | UUID) -> "TaskResult":
        """As `get_result`, awaited."""
        return cast("TaskResult", await super(Task, self).aget_result(str(result_id)))

    def enqueue_many(self, calls: Iterable[Call]) -> Sequence["TaskResult"]:
        """Enqueue many calls, each `(args, kwargs)`: one INSERT and one push for each 1,000, in one transaction."""
        return self.get_backend().enqueue_many(self, calls)

    async def aenqueue_many(self, calls: Iterable[Call]) -> Sequence["TaskResult"]:
        """As `enqueue_many`, awaited."""
        return await self.get_backend().aenqueue_many(self, calls)

    def bind(self, *args: Any, **kwargs: Any) -> "BoundCall":
        """Name a call without making it, for `context.gather`."""
        return BoundCall(task=self, args=args, kwargs=kwargs)

    def delay(self, *args: Any, **kwargs: Any) -> "TaskResult":
        """Celery's name for `enqueue`."""
        return self.enqueue(*args, **kwargs)

    def apply_async(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        countdown: float | None = None,
        eta: datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        **unknown: Any,
    ) -> "TaskResult":
        """Celery's call, for hands that know it. `countdown` is seconds; `priority` is Django's, -100 to 100."""
        if unknown:
            name = next(iter(unknown))
            known = ("args", "kwargs", "countdown", "eta", "queue", "priority")
            raise TypeError(
                f"apply_async() got {name!r}, which Tandem does not take{nearest(name, known)} It takes"
                f" {', '.join(known)}; retries and time limits are the task's own: @task(retries=, time_limit=)."
            )
        if countdown is not None and eta is not None:
            raise TypeError("apply_async() takes countdown or eta, not both.")
        run_after = eta
        if countdown is not None:
            wait = seconds(countdown, what="apply_async(countdown=)", least=-LONGEST)
            run_after = timezone.now() + timedelta(seconds=wait)
        call = self.using(run_after=run_after, queue_name=queue, priority=priority)
        return call.enqueue(*args, **(kwargs or {}))


_FIELDS: Final = tuple(item.name for item in fields(Task))
_NOT_DECORATED: Final = ("func", "run_after", "engine", "idempotency_key", "owner")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCall:
    """A task with its arguments, to be run by `context.gather`."""

    task: Task
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressValue:
    """What a body last said of its progress."""

    current: float
    total: float | None
    message: str
    updated_at: datetime

    @property
    def percent(self) -> float | None:
        """0 to 100, or None where no total is known."""
        return None if not self.total else min(100.0, max(0.0, 100.0 * self.current / self.total))


_REFRESHED: Final = (
    "errors",
    "_return_value",
    "finished_at",
    "started_at",
    "last_attempted_at",
    "status",
    "enqueued_at",
    "worker_ids",
    "phase",
    "engine",
    "reason",
    "progress",
    "cancelled_by",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult(_TaskResultBase):  # type: ignore[misc]  # frozen in Django, not so in the stubs
    """Django's result, with the phase, the engine and why, progress, cancel and retry."""

    task: Task
    phase: str
    engine: str
    reason: str = ""
    owner: str | None = None
    progress: ProgressValue | None = None
    cancelled_by: str | None = None
    # Redeclared so that `refresh` of this class can set it under slots.
    _return_value: Any | None = field(init=False, default=None)

    def refresh(self) -> None:
        """Read the row again; raises `TaskResultDoesNotExist` where it was pruned."""
        self._copy(self.task.get_backend().get_result(self.id))

    async def arefresh(self) -> None:
        """As `refresh`, awaited."""
        self._copy(cast("TaskResult", await self.task.get_backend().aget_result(self.id)))

    def _copy(self, fresh: "TaskResult") -> None:
        for name in _REFRESHED:
            object.__setattr__(self, name, getattr(fresh, name))

    def cancel(self, *, by: str | int | UUID | None = None) -> str:
        """Stop it. Answers what happened: `cancelled` (none held it), `requested` (it is told) or `finished`."""
        return self.task.get_backend().cancel(self.id, by=by)

    def signal(self, name: str, payload: Any = None, *, by: str | int | UUID | None = None) -> None:
        """Send a signal for its body's `context.wait(name)`; see `TandemBackend.signal`."""
        self.task.get_backend().signal(self.id, name, payload, by=by)

    def retry(self, *, engine: str | None = None) -> None:
        """Run a failed, dead, cancelled or parked execution again from its last finished step.

        Raises `ValueError` where it is not over, `RouteError` where `engine` cannot serve it.
        """
        self.task.get_backend().retry(self.id, engine=engine)
