"""Tasks in a module that no worker imports by itself: it is not named `tasks`."""

from tandem import AsyncContext, Context, task
from tests.work import tasks

__all__ = ["job", "job_async", "job_workflow", "steady"]


@task(takes_context=True)
def job(context: Context) -> str:
    """A step and an answer."""
    return context.step("step", str, "done")


@task(takes_context=True)
async def job_async(context: AsyncContext) -> str:
    """As `job`, awaited."""
    return await context.step("step", str, "done")


@task(takes_context=True, workflow=True)
def job_workflow(context: Context) -> str:
    """A workflow, whose service no process registered."""
    return context.step("step", str, "done")


@task(takes_context=True)
def steady(context: Context, mark: str, count: int, seconds: float) -> int:
    """Many steps, as in a task that workers know."""
    steps: int = tasks.slow_steps.func(context, mark, count, seconds)
    return steps
