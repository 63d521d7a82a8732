"""Pictures of one column."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from showcase.analysis.description.bins import Bins
from showcase.drawing import BLUE, GREY, INK, SMALL, count_axis, figure, label, number_axis, plain

__all__ = ["draw_most_frequent", "draw_numbers", "draw_times"]

WIDTH = 8.0
HEIGHT = 4.0
LONGEST_TITLE = 70
LONGEST_VALUE = 32
FIRST_DAY = date(1, 1, 1).toordinal() - date(1970, 1, 1).toordinal()
LAST_DAY = date(9999, 12, 31).toordinal() - date(1970, 1, 1).toordinal()


def draw_numbers(
    target: Path, name: str, *, bins: Bins, counts: npt.NDArray[np.int64], outliers: int, whole: bool
) -> None:
    """A histogram of numbers."""
    values = int(counts.sum())
    said = f"{values:,} number{_s(values)} in {bins.number} bin{_s(bins.number)}, {outliers:,} outlier{_s(outliers)}"
    with figure(target, width=WIDTH, height=HEIGHT) as drawn:
        axes = drawn.add_subplot()
        _histogram(axes, bins.edges, counts)
        number_axis(axes.xaxis, bins.start, bins.end, whole=whole)
        axes.set_xlabel(label(name, LONGEST_TITLE), color=INK)
        _heading(axes, name, said)


def draw_times(target: Path, name: str, *, bins: Bins, counts: npt.NDArray[np.int64], per_day: int) -> bool:
    """A histogram over time, `per_day` units of `bins` to a day; False, and no picture, beyond the years 1 to 9999."""
    # A day's bar is from its midnight to the next one.
    days = bins.edges / per_day + (0.5 if per_day == 1 else 0)
    if days[0] < FIRST_DAY or days[-1] > LAST_DAY:
        return False
    values = int(counts.sum())
    with figure(target, width=WIDTH, height=HEIGHT) as drawn:
        axes = drawn.add_subplot()
        _histogram(axes, days, counts)
        locator = AutoDateLocator(minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.set_xlabel(label(name, LONGEST_TITLE), color=INK)
        _heading(axes, name, f"{values:,} value{_s(values)} in {bins.number} bin{_s(bins.number)} of time")
    return True


def _histogram(axes: Axes, edges: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> None:
    axes.stairs(counts, edges, fill=True, color=BLUE)
    # Where each bin begins is seen between bars of the same height too.
    axes.vlines(edges[1:-1], 0, np.minimum(counts[:-1], counts[1:]), color="white", linewidth=0.6)
    # A single bar would fill the picture.
    margin = 2 * (edges[-1] - edges[0]) if len(counts) == 1 else 0
    axes.set_xlim(edges[0] - margin, edges[-1] + margin)
    axes.set_ylim(0, max(int(counts.max()), 1) * 1.05)
    axes.set_ylabel("Rows", color=INK)
    count_axis(axes.yaxis)
    plain(axes)


def draw_most_frequent(target: Path, name: str, *, counts: Sequence[dict[str, Any]], said: str) -> None:
    """Bars for some values, the first on top; `said` is what they are."""
    numbers = [each["number"] for each in counts]
    places = range(len(counts))
    with figure(target, width=WIDTH, height=1.3 + 0.34 * len(counts)) as drawn:
        axes = drawn.add_subplot()
        bars = axes.barh(places, numbers, height=0.72, color=BLUE)
        axes.bar_label(bars, labels=[f"{number:,}" for number in numbers], padding=4, fontsize=SMALL, color=INK)
        axes.set_yticks(places, [label(str(each["value"]), LONGEST_VALUE) for each in counts])
        axes.invert_yaxis()
        axes.set_xlim(0, max(numbers) * 1.12)
        axes.set_xlabel("Rows", color=INK)
        count_axis(axes.xaxis)
        plain(axes)
        _heading(axes, name, said)


def _heading(axes: Axes, name: str, said: str) -> None:
    axes.set_title(label(name, LONGEST_TITLE), loc="left", fontsize=13, fontweight="bold", color=INK, pad=22)
    axes.text(0, 1.03, said, transform=axes.transAxes, fontsize=SMALL, color=GREY)


def _s(number: int) -> str:
    return "" if number == 1 else "s"
