"""A run's figures as pictures: one SVG each, a bar for each contender with its median, and its repeats' range.

By matplotlib: the showcase draws with it, so it is in the lock file, and it writes SVG by itself.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from benchmarks.catalogue import CONTENDERS, FIGURES, Figure

__all__ = ["draw"]

_WIDTH: Final = 8.0
_BAR: Final = 0.34
_MARGIN: Final = 1.1
_OURS: Final = "#0b6e4f"
_OTHERS: Final = "#9aa5b1"
_RANGE: Final = "#222222"


def draw(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw every figure that the report has, in place of what another run drew; answers the files."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    drawn = []
    for figure in FIGURES:
        rows = [row for row in report["summary"] if row["figure"] == figure.name]
        if rows:
            drawn.append(folder / f"{figure.name}.svg")
            # Text stays text, and the same figures give the same file.
            with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 9}):
                _picture(figure, rows, _note(report)).savefig(drawn[-1], format="svg", metadata={"Date": None})
    return drawn


def _picture(figure: Figure, rows: Sequence[Mapping[str, Any]], note: str) -> Picture:
    picture = Picture(figsize=(_WIDTH, _MARGIN + _BAR * len(rows)), layout="constrained")
    axes = picture.add_subplot()
    titles = [CONTENDERS[row["contender"]].title for row in rows]
    medians = [row["median"] for row in rows]
    below = [row["median"] - row["minimum"] for row in rows]
    above = [row["maximum"] - row["median"] for row in rows]
    colours = [_OURS if row["contender"].startswith("tandem-") else _OTHERS for row in rows]
    axes.barh(titles, medians, color=colours, xerr=[below, above], ecolor=_RANGE, capsize=2)
    axes.invert_yaxis()
    digits = 1 if figure.unit == "ms" else 0
    for place, row in enumerate(rows):
        axes.annotate(
            f"{row['median']:,.{digits}f}",
            (row["maximum"], place),
            xytext=(4, 0),
            textcoords="offset points",
            verticalalignment="center",
        )
    axes.margins(x=0.12)
    axes.set_title(f"{figure.title} ({figure.unit}); {'less' if figure.unit == 'ms' else 'more'} is better", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(note, fontsize=7, loc="left")
    return picture


def _note(report: Mapping[str, Any]) -> str:
    machine = report["machine"]
    return (
        f"median and range of {len(report['repeats'])} repeat(s); {machine['processor']}, {machine['cores']} cores;"
        f" commit {machine['commit']}, {report['at'][:10]}"
    )
