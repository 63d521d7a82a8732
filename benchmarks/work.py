"""What the stepped task and the workflow do, the same for every contender that can: nothing that takes time."""

from collections.abc import Sequence
from typing import Final

__all__ = ["SLEEP_SECONDS", "STEPS", "check", "double"]

STEPS: Final = ("first", "second", "third")
SLEEP_SECONDS: Final = 0.1


def double(number: int) -> int:
    """Answer what a step or a child records."""
    return 2 * number


def check(index: int, answers: Sequence[int]) -> None:
    """Raise `RuntimeError` where the children of workflow `index` answered something else."""
    if list(answers) != [double(index), double(index + 1)]:
        raise RuntimeError(f"The children of {index} answered {answers}.")
