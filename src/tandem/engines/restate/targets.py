"""Which Restate service and handler serve a task. Needs no SDK: web processes and the relay send by it.

A release's prefix comes before every name that Restate knows: `shop.Emails` beside another release's `Emails`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from django.apps import apps

from tandem import registry
from tandem.declarations import Task

__all__ = [
    "HEADER",
    "NAME",
    "TRACKER_WRITER",
    "Target",
    "any_task",
    "problems",
    "service_of",
    "target",
    "target_of",
    "tracker_name",
]

NAME: Final = "restate"
HEADER: Final = "x-tandem-execution"
"""Names the execution and dispatch number of a send of ours: `<id>.<dispatch>`, which is its idempotency key too."""

_TRACKER: Final = "TaskTracker"
_ANY_TASK: Final = "TandemTasks"

TRACKER_WRITER: Final = "x-tandem-tracker-writer"
"""The header by which the tracker knows a write of Tandem's."""

_SERVICE: Final = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9._-]*")
_HANDLER: Final = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One handler. A workflow's invocations are named by their key, a service's by an idempotency key."""

    service: str
    handler: str
    workflow: bool = False

    def send_path(self, key: str) -> str:
        """The ingress path of a send."""
        service = quote(self.service, safe="")
        if self.workflow:
            return f"/restate/send/{service}/{quote(key, safe='')}/{self.handler}"
        return f"/restate/send/{service}/{self.handler}"

    def lookup(self, key: str) -> dict[str, str]:
        """The body by which the ingress finds an invocation."""
        if self.workflow:
            return {"target": "workflow", "workflowName": self.service, "workflowKey": key}
        return {
            "target": "idempotentInvocation",
            "service": self.service,
            "handler": self.handler,
            "idempotencyKey": key,
        }

    def __str__(self) -> str:
        return f"{self.service}/{self.handler}"


def tracker_name(prefix: str) -> str:
    """The virtual object with the progress of a release's executions."""
    return _prefixed(_TRACKER, prefix)


def any_task(prefix: str) -> Target:
    """What runs a task without a handler of its own: outside the `tasks` modules, or of code that is not deployed yet."""
    return Target(service=_prefixed(_ANY_TASK, prefix), handler="execute")


def service_of(task: Task) -> str:
    """The Restate service of a task, without a prefix: a workflow's own, else that of its app.

    An app's is `AppConfig.restate_service`, else its label. A module outside every installed app counts for its
    top-level package.
    """
    if isinstance(task.workflow, str):
        return task.workflow
    module = task.func.__module__
    config = apps.get_containing_app_config(module)
    if config is None:
        service = module.partition(".")[0]
    else:
        service = str(getattr(config, "restate_service", None) or config.label)
    return f"{service}.{task.func.__name__}" if task.workflow else service


def target(task: Task, prefix: str) -> Target:
    """The handler that serves a task: it has the function's name, in a workflow of its own or beside its app's others."""
    service = _prefixed(service_of(task), prefix)
    return Target(service=service, handler=task.func.__name__, workflow=bool(task.workflow))


@lru_cache(maxsize=4096)
def target_of(name: str, prefix: str) -> Target:
    """As `target`, by the task's dotted name; raises `UnknownTask` where this process cannot import it."""
    return target(registry.resolve(name), prefix)


def problems(tasks: Mapping[str, Task]) -> Iterable[str]:
    """What keeps these tasks from being served by Restate, in plain words; nothing when all is well."""
    handlers: dict[tuple[str, str], str] = {}
    kinds: dict[str, tuple[bool, str]] = {
        _TRACKER: (True, "Tandem's own virtual object"),
        _ANY_TASK: (True, "Tandem's own service"),
    }
    for name, task in sorted(tasks.items()):
        where = target(task, "")
        if not _SERVICE.fullmatch(where.service):
            yield (
                f"{name} would be served as {where.service!r}, which Restate refuses as a name: letters, digits, '.', '_'"
                " and '-' are allowed. Set AppConfig.restate_service, or @task(workflow=...), to a name of those."
            )
        if not _HANDLER.fullmatch(where.handler):
            yield (
                f"{name} would be the handler {where.handler!r}, which Restate refuses as a name: start it with a letter,"
                " and use letters, digits and '_'. Rename the function."
            )
        # A workflow has one body, so its name alone tells it from others.
        taken = (where.service, "" if where.workflow else where.handler)
        if taken in handlers:
            yield (
                f"{handlers[taken]} and {name} are both {where.service if where.workflow else where} on Restate. Rename"
                " one function, give one of the apps a restate_service of its own, or name one workflow differently."
            )
            continue
        handlers[taken] = name
        workflow, other = kinds.setdefault(where.service, (where.workflow, name))
        if workflow != where.workflow or where.service in {_TRACKER, _ANY_TASK}:
            yield (
                f"{other} and {name} both make the Restate service {where.service!r}, as different kinds. Name the"
                " workflow, or the app's restate_service, differently."
            )


def _prefixed(service: str, prefix: str) -> str:
    return f"{prefix}.{service}" if prefix else service
