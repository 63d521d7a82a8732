"""The no-op, the stepped task and the workflow as Tandem tasks; one body for both engines."""

from benchmarks import channel
from benchmarks.work import SLEEP_SECONDS, STEPS, check, double
from tandem import Context, task

__all__ = ["child", "noop", "stepped", "workflow"]


@task
def noop(index: int) -> None:
    """Say that it started, and nothing else."""
    channel.record(index)


@task(takes_context=True)
def stepped(context: Context, index: int) -> None:
    """Three steps, then say so."""
    for name in STEPS:
        context.step(name, double, index)
    channel.record(index)


@task
def child(number: int) -> int:
    """Answer a number."""
    return double(number)


@task(takes_context=True)
def workflow(context: Context, index: int) -> None:
    """Sleep, run two children, then say so."""
    context.sleep(SLEEP_SECONDS)
    check(index, context.gather(child.bind(index), child.bind(index + 1)))
    channel.record(index)
