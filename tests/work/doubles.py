"""A task of the name of another in its app, in a module that no worker imports by itself."""

from tandem import task

__all__ = ["noop"]


@task
def noop() -> str:
    """Is not `tests.work.tasks.noop`, though Restate would serve both as `work/noop`."""
    return "the other"
