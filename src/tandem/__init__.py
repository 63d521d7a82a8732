"""One Django task, two engines: written once with Django's `@task`, run on Celery or on Restate.

The public names, nothing else.
"""

from typing import TYPE_CHECKING, Any

from tandem.exceptions import (
    AttemptOver,
    BrokerUnavailable,
    Cancelled,
    ChildFailed,
    ConfigurationError,
    LedgerNotMigrated,
    LedgerUnavailable,
    Permanent,
    Retryable,
    RouteError,
    SignalTimeout,
    TandemError,
    TimeLimitExceeded,
    UnknownTask,
)

if TYPE_CHECKING:
    from tandem.backend import TandemBackend
    from tandem.declarations import Task, TaskResult
    from tandem.execution.context import AsyncContext, Context
    from tandem.options import task

__all__ = [
    "AsyncContext",
    "AttemptOver",
    "BrokerUnavailable",
    "Cancelled",
    "ChildFailed",
    "ConfigurationError",
    "Context",
    "LedgerNotMigrated",
    "LedgerUnavailable",
    "Permanent",
    "Retryable",
    "RouteError",
    "SignalTimeout",
    "TandemBackend",
    "TandemError",
    "Task",
    "TaskResult",
    "TimeLimitExceeded",
    "UnknownTask",
    "task",
]

# These import models, which need the apps loaded; Django builds the backend earlier, while it imports tasks.
_LAZY = {
    "AsyncContext": "tandem.execution.context",
    "Context": "tandem.execution.context",
    "Task": "tandem.declarations",
    "TaskResult": "tandem.declarations",
    "TandemBackend": "tandem.backend",
    "task": "tandem.options",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module  # noqa: PLC0415  # only for the lazy names

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
