"""Pictures of several columns together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from showcase.analysis.description.bins import Bins
from showcase.analysis.description.parquet import CHUNK_ROWS, count_rows, read_chunks
from showcase.drawing import BLUE, GREY, INK, SMALL, figure, label, number_axis, plain

__all__ = ["MOST_SCATTERED", "correlation_chart", "scatter_matrix"]

WIDTH = 8.0
HIGHEST = 7.2
LONGEST_NAME = 18
MOST_WRITTEN = 12
MOST_SLANTED = 16
DARK = 0.6
MOST_SCATTERED = 5
MOST_POINTS = 2000


def correlation_chart(correlations: dict[str, Any], target: Path) -> None:
    """Draw what `correlations` answered as a PNG: red together, blue against each other, grey where there is none."""
    names = correlations["names"]
    numbers = np.array(
        [[np.nan if each is None else each for each in row] for row in correlations["coefficients"]], dtype=float
    )
    places = range(len(names))
    size = min(max(0.6 * len(names) + 2.4, 4.0), HIGHEST)
    with figure(target, width=min(size + 1.0, WIDTH), height=size) as drawn:
        axes = drawn.add_subplot()
        axes.set_facecolor("#e6e8eb")
        image = axes.imshow(numbers, vmin=-1, vmax=1, cmap="RdBu_r")
        shown = [label(name, LONGEST_NAME) for name in names]
        # Upright ones stand closer without touching.
        turn = 45 if len(names) <= MOST_SLANTED else 90
        axes.set_xticks(places, shown, rotation=turn, ha="right", va="center_baseline", rotation_mode="anchor")
        axes.set_yticks(places, shown)
        plain(axes)
        axes.spines[:].set_visible(False)
        if len(names) <= MOST_WRITTEN:
            for row, column in np.ndindex(numbers.shape):
                _write(axes, row, column, float(numbers[row, column]))
        scale = drawn.colorbar(image, ax=axes, ticks=[-1, -0.5, 0, 0.5, 1], shrink=0.7, aspect=25)
        scale.outline.set_visible(False)
        scale.ax.tick_params(labelsize=SMALL, length=3, color=GREY)
        scale.set_label("Pearson's correlation coefficient", fontsize=SMALL, color=INK)
        axes.set_title("Correlations", loc="left", fontsize=13, fontweight="bold", color=INK, pad=12)


def _write(axes: Axes, row: int, column: int, number: float) -> None:
    missing = np.isnan(number)
    said = "\N{EN DASH}" if missing else f"{round(number, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")
    color = "white" if not missing and abs(number) > DARK else INK
    axes.text(column, row, said, ha="center", va="center", fontsize=SMALL, color=color)


def scatter_matrix(source: Path, names: Sequence[str], target: Path) -> None:
    """Draw each of some columns of numbers against each other as a PNG, from at most 2,000 rows, evenly spaced.

    Infinite numbers are left out. Raises `ValueError` for no column and for more than 5.
    """
    if not 1 <= len(names) <= MOST_SCATTERED:
        raise ValueError(f"{len(names)} columns cannot be drawn: choose from 1 to {MOST_SCATTERED}.")
    rows = count_rows(source)
    numbers = _sample(source, names, rows)
    bins = [_bins(column) for column in numbers.T]
    last = len(names) - 1
    with figure(target, width=WIDTH, height=WIDTH if last else WIDTH / 2) as drawn:
        grid = drawn.subplots(len(names), len(names), squeeze=False)
        for (row, column), axes in np.ndenumerate(grid):
            plain(axes)
            if row == column:
                axes.set_yticks([])
                _spread(axes, numbers[:, column], bins[column])
            else:
                if bins[row] and bins[column]:
                    axes.scatter(numbers[:, column], numbers[:, row], s=5, color=BLUE, alpha=0.35, linewidths=0)
                _scale(axes.yaxis, bins[row], labelled=column == 0)
            _scale(axes.xaxis, bins[column], labelled=row == last)
        for place, name in enumerate(names):
            # Below the power of ten of its ticks.
            grid[last, place].set_xlabel(label(name, LONGEST_NAME), fontsize=SMALL, color=INK, labelpad=10)
            grid[place, 0].set_ylabel(label(name, LONGEST_NAME), fontsize=SMALL, color=INK)
        drawn.align_ylabels(grid[:, 0])
        said = f"Each against each: {len(numbers):,} of {rows:,} rows"
        drawn.suptitle(said, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)


def _sample(source: Path, names: Sequence[str], rows: int) -> npt.NDArray[np.float64]:
    """The columns of at most `MOST_POINTS` rows; NaN where nothing finite is."""
    kept = min(rows, MOST_POINTS)
    places = np.arange(kept) * rows // max(kept, 1)
    parts = [np.empty((0, len(names)))]
    for chunk, frame in enumerate(read_chunks(source, names)):
        start = chunk * CHUNK_ROWS
        inside = places[(places >= start) & (places < start + frame.height)] - start
        parts.append(frame[inside].cast(pl.Float64).fill_null(np.nan).to_numpy())
    numbers = np.concatenate(parts)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def _bins(values: npt.NDArray[np.float64]) -> Bins | None:
    """The bins of some numbers; None where there are none, or where they cannot be drawn."""
    there = values[~np.isnan(values)]
    return Bins.between(float(there.min()), float(there.max()), whole=False) if there.size else None


def _scale(axis: Axis, bins: Bins | None, *, labelled: bool) -> None:
    if bins is None:
        axis.set_ticks([])
        return
    margin = (bins.end - bins.start) / 20
    axis.set_view_interval(bins.start - margin, bins.end + margin, ignore=True)
    number_axis(axis, bins.start, bins.end, most=3)
    axis.set_tick_params(labelleft=labelled, labelbottom=labelled, labelsize=SMALL - 1)
    axis.get_offset_text().set(visible=labelled, fontsize=SMALL - 1)


def _spread(axes: Axes, values: npt.NDArray[np.float64], bins: Bins | None) -> None:
    """A histogram of one column."""
    if bins is None:
        axes.text(0.5, 0.5, "nothing to draw", transform=axes.transAxes, ha="center", color=GREY, fontsize=SMALL)
        return
    axes.stairs(bins.count(values[~np.isnan(values)]), bins.edges, fill=True, color=GREY)
