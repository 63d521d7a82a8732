"""Figures without a display and without pyplot, whose figures belong to the whole process: what all pictures share."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import MaxNLocator, ScalarFormatter, StrMethodFormatter

__all__ = ["BLUE", "GREY", "INK", "SMALL", "count_axis", "figure", "label", "number_axis", "plain"]

DOTS_PER_INCH = 100
BLUE = "#0b5cad"
INK = "#1b1f24"
GREY = "#57606a"
SMALL = 9
LACKING = "\N{WHITE SQUARE}"
FEWEST_GROUPED = 1000
WIDE = 100
MOST_GROUPED = 1e12
NARROW = 1e-4

# Matplotlib is not safe in threads, and an engine may run steps in several.
_drawing = threading.Lock()


@contextmanager
def figure(target: Path, *, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches, 100 dots each, that is written as a PNG to `target`; the same bytes for the same picture."""
    with _drawing:
        drawn = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
        FigureCanvasAgg(drawn)
        yield drawn
        # By default the version of Matplotlib would be in the file.
        drawn.savefig(target, format="png", metadata={"Software": None})


def label(text: str, longest: int) -> str:
    """A text of somebody else's as Matplotlib shows it literally, on one line of at most so many characters."""
    line = " ".join(text.split())
    cut = line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
    shown = "".join(letter if _has_glyph(letter) else LACKING for letter in cut)
    # Two dollars would start a formula.
    return shown.replace("$", r"\$")


@cache
def _has_glyph(letter: str) -> bool:
    """Whether the font has it; Matplotlib would warn of it, and draw an empty box."""
    return letter.isprintable() and get_font(findfont("DejaVu Sans")).get_char_index(ord(letter)) != 0


def plain(axes: Axes) -> None:
    """Leave of the frame only what is read."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=SMALL, length=3, color=GREY)


def count_axis(axis: Axis) -> None:
    """Tick whole numbers, with their thousands apart."""
    axis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def number_axis(axis: Axis, low: float, high: float, *, whole: bool = False, most: int = 8) -> None:
    """Tick numbers from `low` to `high`, with their thousands apart where they are of some size."""
    axis.set_major_locator(MaxNLocator(nbins=most, integer=whole, steps=[1, 2, 5, 10]))
    largest = max(abs(low), abs(high))
    if FEWEST_GROUPED <= largest < MOST_GROUPED and high - low > WIDE:
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    else:
        formatter = ScalarFormatter(useOffset=high - low < largest * NARROW)
        formatter.set_powerlimits((-4, 6))
        axis.set_major_formatter(formatter)
