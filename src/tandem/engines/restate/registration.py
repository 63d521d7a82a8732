"""What Restate should know of this project's services, and does not."""

from collections.abc import Iterable, Mapping
from typing import Any

from tandem.configuration import RestateOptions
from tandem.engines.restate.targets import any_task, target
from tandem.registry import is_discovered, registered_tasks

__all__ = ["unregistered"]


def unregistered(services: Iterable[Mapping[str, Any]], options: RestateOptions) -> Iterable[str]:
    """Name what is missing among the services that Restate lists, with the way out."""
    handlers = {(service["name"], handler["name"]) for service in services for handler in service["handlers"]}
    names = {service for service, _ in handlers}
    anything = any_task(options.prefix)
    targets = {task: target(task, options.prefix) for task in registered_tasks().values()}
    where = f"Restate at {options.admin_url} does not know"
    # Where any task can run, one without a handler of its own runs.
    if (anything.service, anything.handler) not in handlers:
        missing = {str(item) for item in (anything, *targets.values()) if (item.service, item.handler) not in handlers}
        yield (
            f"{where} {', '.join(sorted(missing))}. Start"
            " `manage.py tandem service --register`, or register the running service's URL."
        )
    elif absent := {
        item.service for task, item in targets.items() if item.service not in names and is_discovered(task)
    }:
        yield (
            f"{where} the service {', '.join(sorted(absent))}: its tasks run at {anything}, in the process that takes"
            " the rest. Start one with `manage.py tandem service --take`, or have the rest take it."
        )
