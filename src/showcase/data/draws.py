"""Random values that are the same on every machine and in every version of Python.

Of `random.Random`, Python guarantees the sequence of `random()` for a seed, and nothing else; of floating point, IEEE 754
fixes addition, multiplication and division, but no logarithm, cosine or exponential of a machine's C library. So only
these are used here.
"""

import random
from collections.abc import Sequence

__all__ = ["Draws", "exponential"]

HALVINGS = 5
TERMS = 14
UNIFORMS = 12


class Draws:
    """Draws from a seed, a whole number."""

    def __init__(self, seed: int) -> None:
        self.fraction = random.Random(seed).random  # noqa: S311 - data to try things with, no secret
        """From 0 to below 1."""

    def below(self, end: int) -> int:
        """From 0 to below `end`."""
        return int(self.fraction() * end)

    def pick[Item](self, items: Sequence[Item]) -> Item:
        """One of them, each as likely as the others."""
        return items[int(self.fraction() * len(items))]

    def normal(self) -> float:
        """Near enough to a normal distribution with mean 0 and standard deviation 1, and never beyond 6.

        The sum of twelve uniforms has exactly that mean and deviation.
        """
        fraction = self.fraction
        total = -UNIFORMS / 2
        for _ in range(UNIFORMS):
            total += fraction()
        return total


def exponential(power: float) -> float:
    """`e` to a power from -8 to 8, by additions, multiplications and divisions alone; right to 12 digits."""
    part = power / 2**HALVINGS
    total = term = 1.0
    for number in range(1, TERMS):
        term = term * part / number
        total += term
    for _ in range(HALVINGS):
        total *= total
    return total
