"""The report's picture."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine

from showcase.drawing import figure, label

__all__ = ["chart"]

BAR, GRID, TEXT = "#1f5fa8", "#d9dde3", "#1d2430"
UNITS = ((10**11, 10**9, "billions"), (10**8, 10**6, "millions"), (10**5, 10**3, "thousands"), (0, 1, "whole units"))
LONGEST_NAME = 26
MOST_TICKS = 8


def chart(findings: dict[str, Any], target: Path) -> None:
    """Draw what `process` found as a PNG: the revenue by month, and the products that brought most of it.

    Revenue is in the currency of the file, which the file does not name. The same findings give the same bytes.
    """
    with figure(target, width=11, height=9) as drawn:
        drawn.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.2, h_pad=0.2))
        months, products = drawn.subplots(2, 1)
        _draw_months(months, findings["by_month"])
        _draw_products(products, findings["top_products"])


def _draw_months(axes: Axes, by_month: dict[str, dict[str, int]]) -> None:
    _title(axes, "Revenue by month")
    places = {int(month[:4]) * 12 + int(month[5:]) - 1: sums["revenue_cents"] for month, sums in by_month.items()}
    unit, words = _unit(places.values())
    axes.bar(list(places), [cents / 100 / unit for cents in places.values()], width=0.8, color=BAR)
    _label(axes, "Month of the order", f"Revenue ({words} of the file's currency)")
    axes.grid(axis="y", color=GRID)
    # Each month has its place, those without orders too, and some of them are named.
    step = 1 + (max(places) - min(places)) // MOST_TICKS if places else 1
    ticks = range(min(places), max(places) + 1, step) if places else range(0)
    axes.set_xticks(list(ticks), [f"{place // 12}-{place % 12 + 1:02}" for place in ticks])
    if not places:
        _say_nothing(axes)


def _draw_products(axes: Axes, products: list[dict[str, Any]]) -> None:
    _title(axes, "Products with the most revenue")
    revenues = [product["revenue_cents"] for product in products]
    unit, words = _unit(revenues)
    bars = axes.barh(range(len(products)), [cents / 100 / unit for cents in revenues], color=BAR)
    axes.bar_label(bars, [f"{cents / 100 / unit:,.2f}" for cents in revenues], padding=4, color=TEXT, fontsize=10)
    _label(axes, f"Revenue ({words} of the file's currency)", "Product")
    axes.grid(axis="x", color=GRID)
    axes.margins(x=0.1)
    axes.set_yticks(range(len(products)), [label(product["product"], LONGEST_NAME) for product in products])
    axes.invert_yaxis()
    if not products:
        _say_nothing(axes)


def _unit(cents: Iterable[int]) -> tuple[int, str]:
    """What to count revenue in, so that the axis has short numbers."""
    most = max(cents, default=0)
    return next((unit, words) for least, unit, words in UNITS if most >= least)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=14, fontweight="bold", color=TEXT)


def _label(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across, fontsize=11, color=TEXT)
    axes.set_ylabel(up, fontsize=11, color=TEXT)
    axes.tick_params(labelsize=10, colors=TEXT)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _say_nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "No orders were accepted.", transform=axes.transAxes, ha="center", fontsize=12, color=TEXT)
