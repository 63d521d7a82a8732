"""What `@task(...)` takes, and its types; of what Celery's decorator takes and this one does not, what to write instead."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, overload

from django.tasks import task as _task

from tandem import values
from tandem.exceptions import ConfigurationError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tandem.declarations import Task

__all__ = ["read_call_options", "task", "unknown_option"]

_LEDGER: Final = "leave it out: the ledger keeps every execution and its result"
_AGAIN: Final = "leave it out: what a dead worker ran is always run again"
_JSON: Final = "leave it out: arguments and results are JSON"
_BACKOFF: Final = "write backoff= (seconds before the first retry, doubled each time up to max_backoff=)"
_INSTEAD: Final = {
    "acks_late": _AGAIN,
    "acks_on_failure_or_timeout": _AGAIN,
    "reject_on_worker_lost": _AGAIN,
    "autoretry_for": "write retries=: every exception but tandem.Permanent is retried",
    "dont_autoretry_for": "raise tandem.Permanent for what no retry changes",
    "throws": "raise tandem.Permanent for what no retry changes",
    "base": "leave it out: a task is a function",
    "bind": "write takes_context=True: the first parameter, named context, is the attempt's",
    "compression": _JSON,
    "serializer": _JSON,
    "countdown": "write .using(run_after=...) for each call",
    "eta": "write .using(run_after=...) for each call",
    "default_retry_delay": _BACKOFF,
    "retry_backoff": _BACKOFF,
    "retry_backoff_max": "write max_backoff= (seconds)",
    "retry_jitter": "write jitter=",
    "retry_kwargs": "write retries= and backoff=",
    "expires": "write max_age= (seconds from enqueue, past which no retry starts)",
    "ignore_result": _LEDGER,
    "store_errors_even_if_ignored": _LEDGER,
    "track_started": _LEDGER,
    "max_retries": "write retries= (0: none)",
    "name": "leave it out: a task's name is its dotted path",
    "queue": "write queue_name=",
    "rate_limit": "give the task a queue of its own and its worker a --concurrency",
    "soft_time_limit": "write time_limit= (seconds)",
}


def unknown_option(name: str, function: Callable[..., Any] | None, known: Collection[str]) -> TypeError:
    """Make the error for an option that is not `known`: it names the task, the option, and what to write instead."""
    where = f"@task on {function.__module__}.{function.__qualname__}" if function else "@task"
    way_out = f": {_INSTEAD[name]}." if name in _INSTEAD else nearest(name, known)
    return TypeError(f"{where} got {name!r}, which Tandem does not take{way_out} It takes {', '.join(known)}.")


_TEXTS: Final = (("queue_name", 1, 100), ("engine", 1, 100), ("idempotency_key", 1, 255), ("owner", 0, 255))


def read_call_options(task: Any) -> dict[str, Any]:
    """Each option of a call that is there, as its column takes it; raises `ConfigurationError` naming the option."""
    try:
        read: dict[str, Any] = {
            option: values.name(getattr(task, option), what=option, least=least, most=most)
            for option, least, most in _TEXTS
            if getattr(task, option) is not None
        }
        # Django takes 5.0 too, and refuses what is no whole number or out of range.
        priority = values.number(task.priority, what="priority")
        read["priority"] = int(priority) if priority.is_integer() else priority
        if task.run_after is not None:
            values.moment(task.run_after, what="run_after")
    except values.InvalidValue as error:
        raise ConfigurationError(f"{task.func.__module__}.{task.func.__qualname__}: {error}") from error
    return read


if TYPE_CHECKING:

    @overload
    def task(function: Callable[..., Any], /) -> Task: ...
    @overload
    def task(
        *,
        priority: int = 0,
        queue_name: str = "default",
        backend: str = "default",
        takes_context: bool = False,
        retries: int = 0,
        backoff: float = 1.0,
        max_backoff: float = 600.0,
        max_age: float | None = None,
        jitter: bool = True,
        time_limit: float | None = None,
        workflow: bool | str = False,
        external: bool = False,
        requires: Sequence[str] = (),
    ) -> Callable[[Callable[..., Any]], Task]: ...
    def task(function: Any = None, /, **options: Any) -> Any:
        """Make a task; see `tandem.Task` for the options."""

else:
    task = _task
