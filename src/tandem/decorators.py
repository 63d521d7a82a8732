"""Django's `@task`, with types that know Tandem's options and calls.

`from django.tasks import task` works as well and is the same object; type checkers see Django's own Task then.
"""

from typing import TYPE_CHECKING, Any, overload

from django.tasks import task as _task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tandem.task import Task

__all__ = ["task"]

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
        """Make a task; see `tandem.task.Task` for the options."""

else:
    task = _task
