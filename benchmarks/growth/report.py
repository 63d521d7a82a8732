"""What was measured as tables, and whether the largest ledger is as it must be."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from benchmarks.growth.level import EMPTY, PAGES

__all__ = ["aims", "lines"]

_TIMES: Final = 1.2
_ROUND_MS: Final = 20.0
_PAGE_MS: Final = 50.0
_HOT: Final = ("enqueue", "claim", "finish")
_ROUNDS: Final = (
    "relay: a round",
    "relay: a round that looks for what was lost (2 s)",
    "relay: Restate's lane, a round",
    "relay: Restate's lane, what to ask Restate (2 s)",
    "exporter: a reading",
)
_WIDTH: Final = 30
_TITLE: Final = 78

type Level = Mapping[str, Any]


def aims(level: Level) -> list[dict[str, Any]]:
    """What became of each must-hold: the worst of all connections and states counts."""
    found = level["found"]
    bounds = [
        *((name, "times", _TIMES, "x an empty ledger") for name in _HOT),
        *((name, "median", _ROUND_MS, "ms") for name in _ROUNDS),
        *((name, "median", _PAGE_MS, "ms") for name in PAGES),
    ]
    return [_aim(name, found[name], key, bound, unit) for name, key, bound, unit in bounds]


def _aim(name: str, places: Mapping[str, Any], key: str, bound: float, unit: str) -> dict[str, Any]:
    worst = max((place for place in places if place != EMPTY), key=lambda place: float(places[place][key]))
    value = places[worst][key]
    return {"aim": f"{name} within {bound:g} {unit}", "value": value, "where": worst, "met": value <= bound}


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The whole report for people."""
    machine, levels = report["machine"], report["levels"]
    yield f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; load before: {machine['load_before']}"
    yield f"{report['servers']['PostgreSQL']}, shared_buffers 128 MB, {report['seconds']:,.0f} s in all."
    yield (
        "PostgreSQL's own time (parse, bind, execute as it logs them), in ms: median, in brackets what 19 of 20 do not exceed;"
        " x: beside an empty ledger, within each of 5 blocks, +- how far they lie apart."
    )
    yield "Long-lived: a connection that prepared its statements while the ledger was empty."
    yield ""
    yield f"{'finished executions':<{_TITLE}}" + "".join(f"{level['size']:>{_WIDTH},}" for level in levels)
    yield f"{'waiting':<{_TITLE}}" + "".join(f"{level['waiting']:>{_WIDTH},}" for level in levels)
    yield from _table(levels)
    yield from _sizes(levels)
    yield ""
    for aim in report["aims"]:
        yield f"{'met   ' if aim['met'] else 'MISSED'}  {aim['aim']}: {aim['value']:.2f} ({aim['where']})"


def _table(levels: Sequence[Level]) -> Iterator[str]:
    for name, places in levels[-1]["found"].items():
        yield ""
        yield name
        for place in places:
            cells = [level["found"].get(name, {}).get(place) for level in levels]
            title = "an empty ledger" if place == EMPTY else place
            yield f"  {title:<{_TITLE - 2}}" + "".join(f"{_cell(cell):>{_WIDTH}}" for cell in cells)


def _cell(spread: Mapping[str, Any] | None) -> str:
    if spread is None:
        return "-"
    digits = 3 if spread["median"] < 1 else 1
    shown = f"{spread['median']:.{digits}f} ({spread['most']:.{digits}f})"
    return shown if spread["times"] is None else f"{shown} {spread['times']:.2f}x+-{spread['apart']:.2f}"


def _sizes(levels: Sequence[Level]) -> Iterator[str]:
    yield ""
    yield "size after the prune and a vacuum: MB, bytes a row; of an index what is gone of it once it is built anew"
    for number, weight in enumerate(levels[-1]["sizes"]):
        yield f"  {weight['name']:<{_TITLE - 2}}" + "".join(
            f"{_weight(level['sizes'][number]):>{_WIDTH}}" for level in levels
        )


def _weight(weight: Mapping[str, Any]) -> str:
    shown = f"{weight['bytes'] / 1e6:,.1f} {weight['a_row']:,.0f}"
    return f"{shown} {weight['bloat']:.0%}" if "bloat" in weight else shown
