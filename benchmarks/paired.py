"""The arithmetic of a paired run: medians, ratios to a baseline repeat by repeat, ties, and whether an aim is met."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal, Self

__all__ = ["TIE", "Aim", "Comparison", "Summary", "Verdict", "drain_rate", "percentile"]

TIE: Final = 0.2
"""Medians of repeats on one machine differ by about this much without a cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The repeats of one figure."""

    median: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Raises `ValueError` where there are none."""
        if not values:
            raise ValueError("No repeats to summarise.")
        return cls(median=median(values), minimum=min(values), maximum=max(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One figure against a baseline's: the ratio within each repeat, since repeats differ more than contenders may."""

    ratios: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float], baseline: Sequence[float]) -> Self:
        """Pair by repeat; raises `ValueError` where the repeats do not pair or a baseline is not above 0."""
        if not values or len(values) != len(baseline):
            raise ValueError(f"{len(values)} repeats cannot be paired with {len(baseline)} of the baseline.")
        if any(value <= 0 for value in baseline):
            raise ValueError(f"A baseline must be above 0 in every repeat: {list(baseline)}.")
        return cls(ratios=tuple(value / base for value, base in zip(values, baseline, strict=True)))

    @property
    def median(self) -> float:
        """The ratio to name."""
        return median(self.ratios)

    @property
    def spread(self) -> float:
        """How far the repeats' ratios lie apart, as a part of their median."""
        return (max(self.ratios) - min(self.ratios)) / self.median

    @property
    def verdict(self) -> Literal["tie", "more", "less"]:
        """`tie` under about 20 %, either way."""
        if 1 / (1 + TIE) < self.median < 1 + TIE:
            return "tie"
        return "more" if self.median > 1 else "less"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether an aim was met, by the median, and in how many of the repeats."""

    value: float
    met: bool
    repeats_met: int
    repeats: int

    @property
    def decided(self) -> bool:
        """Whether every repeat says the same as the median."""
        return self.repeats_met == (self.repeats if self.met else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a figure should reach: a ratio to `baseline` of at least `bound`, or without one a value below `bound`.

    `most`: the ratio is to be `bound` or less.
    """

    figure: str
    contender: str
    baseline: str | None
    bound: float
    most: bool = False

    def judge(self, values: Sequence[float], baseline: Sequence[float] | None = None) -> Verdict:
        """Judge the repeats; raises `ValueError` where they cannot be."""
        if self.baseline is None:
            found, reached = median(_some(values)), [value < self.bound for value in values]
            met = found < self.bound
        else:
            comparison = Comparison.of(values, baseline or ())
            found, reached = comparison.median, [self._reached(ratio) for ratio in comparison.ratios]
            met = self._reached(found)
        return Verdict(value=found, met=met, repeats_met=sum(reached), repeats=len(reached))

    def _reached(self, ratio: float) -> bool:
        return ratio <= self.bound if self.most else ratio >= self.bound


def _some(values: Sequence[float]) -> Sequence[float]:
    if not values:
        raise ValueError("No repeats to judge.")
    return values


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (above 0, to 1) of all do not exceed: one that was measured."""
    if not values or not 0 < share <= 1:
        raise ValueError(f"No percentile {share!r} of {len(values)} values.")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def drain_rate(starts: Sequence[tuple[int, int]]) -> float:
    """Bodies a second from `(nanoseconds, process)` of each: from when all processes run, to the last.

    Counting begins when the last process started its first body, so that no process's start-up counts; where that was
    past the middle (one process had hardly any work), it begins with the first body of all.
    """
    ordered = sorted(starts)
    first_of: dict[int, int] = {}
    for position, (_, process) in enumerate(ordered):
        first_of.setdefault(process, position)
    begin = max(first_of.values(), default=0)
    begin = begin if begin <= len(ordered) // 2 else 0
    if len(ordered) - begin < 2:  # noqa: PLR2004  # a rate needs two points in time
        raise ValueError(f"{len(ordered)} bodies make no rate.")
    seconds = (ordered[-1][0] - ordered[begin][0]) / 1e9
    if seconds <= 0:
        raise ValueError("All bodies started at the same time, which makes no rate.")
    return (len(ordered) - 1 - begin) / seconds
