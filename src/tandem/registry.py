"""The tasks this process knows, by dotted name."""

from collections.abc import Mapping
from functools import cache

from django.utils.module_loading import autodiscover_modules, import_string

from tandem.exceptions import UnknownTask, nearest
from tandem.task import Task

__all__ = ["registered_tasks", "resolve"]


@cache
def _discover() -> None:
    autodiscover_modules("tasks")


def registered_tasks() -> Mapping[str, Task]:
    """Every Tandem task in the `tasks` modules of the installed apps, and wherever else one was imported from."""
    _discover()
    return Task.known


@cache
def resolve(name: str) -> Task:
    """Return the task of a dotted name; raises `UnknownTask` where this process cannot import it."""
    task = Task.known.get(name)
    if task is not None:
        return task
    try:
        found = import_string(name)
    except Exception as error:
        # A module may fail to import in any way, and a relay that asks for one task must live to send the others.
        hint = nearest(name, list(Task.known))
        raise UnknownTask(
            f"No task {name!r} in this process ({type(error).__name__}: {error}){hint} Deploy the code that has it, or"
            " cancel the execution."
        ) from error
    if not isinstance(found, Task):
        raise UnknownTask(f"{name!r} is a {type(found).__name__}, not a Tandem task. Decorate it with @task.")
    return found
