"""What follows a failure: another attempt after a delay, or the end. Pure."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from tandem.declarations import Task
from tandem.exceptions import Permanent, Retryable
from tandem.values import LONGEST, seconds

__all__ = ["Verdict", "after_failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`delay` is the seconds to the next attempt, with `outcome` None; or the outcome that ends it."""

    outcome: Literal["failed", "dead"] | None
    delay: float = 0.0


def after_failure(
    error: BaseException, *, task: Task, attempts: int, age: float, random: Callable[[], float]
) -> Verdict:
    """Judge a failure after `attempts` earlier failures and lost leases, `age` seconds after enqueue.

    `Permanent` fails at once. A task without retries fails; one whose retries are used up, or whose next attempt
    would start past its `max_age`, is dead. The delay is `Retryable.after` where given, else the task's backoff
    doubled for each earlier attempt, with jitter (`random` gives 0 to 1).
    """
    if isinstance(error, Permanent):
        return Verdict(outcome="failed")
    if attempts >= task.retries:
        return Verdict(outcome="dead" if task.retries else "failed")
    delay = _asked_for(error)
    if delay is None:
        delay = min(task.max_backoff, task.backoff * 2.0 ** min(attempts, 60))
        delay = delay * (1 - random() / 2) if task.jitter else delay
    if task.max_age is not None and age + delay > task.max_age:
        return Verdict(outcome="dead")
    return Verdict(outcome=None, delay=delay)


def _asked_for(error: BaseException) -> float | None:
    """The delay that an error asks for. What a body made of its own of `after` may be no delay: then the backoff is."""
    if not isinstance(error, Retryable):
        return None
    with suppress(Exception):
        return max(0.0, seconds(error.after, what="after", least=-LONGEST))
    return None
