"""The tasks this process knows, by dotted name."""

from collections.abc import Mapping, Sequence
from functools import cache

from django.apps import apps
from django.tasks import DEFAULT_TASK_QUEUE_NAME
from django.tasks import Task as DjangoTask
from django.utils.module_loading import autodiscover_modules, import_string

from tandem.configuration import configurations
from tandem.declarations import Task
from tandem.exceptions import UnknownTask, nearest
from tandem.values import said

__all__ = ["is_discovered", "queues_of", "registered_tasks", "resolve"]


@cache
def _discover() -> None:
    autodiscover_modules("tasks")


def registered_tasks() -> Mapping[str, Task]:
    """Every Tandem task in the `tasks` modules of the installed apps, and wherever else one was imported from."""
    _discover()
    return Task.known


def is_discovered(task: Task) -> bool:
    """Whether every process with this code knows a task: it is in the `tasks` module of an installed app."""
    module = task.func.__module__
    config = apps.get_containing_app_config(module)
    return config is not None and f"{module}.".startswith(f"{config.name}.tasks.")


def resolve(name: str) -> Task:
    """Return the task of a dotted name, as a call of the backend with a ledger has it, wherever it was declared.

    Raises `UnknownTask` where this process cannot import it.
    """
    task = _find(name)
    alias = next((alias for alias, found in configurations().items() if not found.in_memory), task.backend)
    return task.called(backend=alias)


@cache
def _find(name: str) -> Task:
    task = Task.known.get(name)
    if task is not None:
        return task
    try:
        found = import_string(name)
    except (Exception, SystemExit) as error:
        # A module may fail to import in any way, and a relay that asks for one task must live to send the others.
        hint = nearest(name, list(Task.known))
        raise UnknownTask(
            f"No task {name!r} in this process ({said(error)}){hint} Deploy the code that has it, or"
            " cancel the execution."
        ) from error
    if not isinstance(found, DjangoTask):
        raise UnknownTask(f"{name!r} is a {type(found).__name__}, not a Tandem task. Decorate it with @task.")
    return Task.of(found)


def queues_of(configured: Sequence[str]) -> tuple[str, ...]:
    """The queues of a backend; where any name is one, the default queue and those that known tasks name."""
    if configured:
        return tuple(configured)
    return tuple(sorted({DEFAULT_TASK_QUEUE_NAME, *(task.queue_name for task in registered_tasks().values())}))
