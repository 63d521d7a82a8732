"""A run's repeats as a table, and what they say of the aims."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from benchmarks.catalogue import AIMS, CONTENDERS, FIGURES, Figure
from benchmarks.paired import TIE, Aim, Comparison, Summary

__all__ = ["aims", "faults", "lines", "summary"]

type Repeat = Mapping[str, Mapping[str, Any]]

_SHOWN: Final = 0.005
_WORDS: Final = {"tie": "tie", "more": "more", "less": "less"}


def values(repeats: Sequence[Repeat], contender: str, figure: str) -> list[float]:
    """One contender's figure in each repeat; empty where it has none."""
    name, _, part = figure.partition("_p")
    found = [repeat[contender] for repeat in repeats if contender in repeat]
    if figure.startswith("idle_"):
        return [run["idle"][f"p{part}"] for run in found if "idle" in run]
    return [run[name]["per_second"] for run in found if name in run]


def summary(repeats: Sequence[Repeat]) -> list[dict[str, Any]]:
    """Every figure of every contender, with its ratios."""
    rows = []
    for figure in FIGURES:
        for name in CONTENDERS:
            own = values(repeats, name, figure.name)
            if own:
                found = Summary.of(own)
                rows.append(
                    {
                        "figure": figure.name,
                        "contender": name,
                        "median": found.median,
                        "minimum": found.minimum,
                        "maximum": found.maximum,
                        "against": {
                            base: _ratio(own, repeats, base, figure) for base in _baselines(name, repeats, figure)
                        },
                    }
                )
    return rows


def _baselines(contender: str, repeats: Sequence[Repeat], figure: Figure) -> list[str]:
    """`celery` for all, the engine's own for Tandem, and where an aim names another."""
    named = [figure.baseline]
    named += ["restate"] if contender.endswith("-restate") else []
    named += [contender.replace("tandem-", "release-")] if contender.startswith("tandem-") else []
    named += [aim.baseline for aim in AIMS if aim.baseline and (aim.figure, aim.contender) == (figure.name, contender)]
    return [name for name in dict.fromkeys(named) if name != contender and values(repeats, name, figure.name)]


def _ratio(own: Sequence[float], repeats: Sequence[Repeat], baseline: str, figure: Figure) -> dict[str, Any]:
    comparison = Comparison.of(own, values(repeats, baseline, figure.name))
    return {
        "ratio": comparison.median,
        "ratios": list(comparison.ratios),
        "spread": comparison.spread,
        "verdict": comparison.verdict,
    }


def aims(repeats: Sequence[Repeat]) -> list[dict[str, Any]]:
    """What became of each aim that this run can judge."""
    found = []
    for aim in AIMS:
        own = values(repeats, aim.contender, aim.figure)
        base = values(repeats, aim.baseline, aim.figure) if aim.baseline else None
        if own and base != []:
            verdict = aim.judge(own, base)
            found.append(
                {
                    "aim": _aim(aim),
                    "value": verdict.value,
                    "met": verdict.met,
                    "repeats_met": verdict.repeats_met,
                    "repeats": verdict.repeats,
                }
            )
    return found


def _aim(aim: Aim) -> str:
    figure = next(figure for figure in FIGURES if figure.name == aim.figure)
    who = CONTENDERS[aim.contender].title
    if aim.baseline is None:
        return f"{who}, {figure.title} < {aim.bound:g} {figure.unit}"
    return f"{who}, {figure.title} >= {aim.bound:g} x {CONTENDERS[aim.baseline].title}"


def faults(repeats: Sequence[Repeat]) -> list[str]:
    """Tasks that were lost, ran again or were not recorded, in a line each."""
    found = []
    for number, repeat in enumerate(repeats, 1):
        for name, run in repeat.items():
            tasks = run["tasks"]
            for key, text in (("lost", "never ran"), ("ran_again", "ran more than once")):
                if tasks[key]:
                    found.append(
                        f"{CONTENDERS[name].title}, repeat {number}: {tasks[key]} of {tasks['enqueued']} {text}"
                    )
            if tasks["recorded"] not in {None, tasks["enqueued"]}:
                found.append(
                    f"{CONTENDERS[name].title}, repeat {number}: {tasks['recorded']} of {tasks['enqueued']} recorded"
                )
    return found


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The whole report for people."""
    yield from _conditions(report)
    yield from _table(report["summary"])
    yield from _processor(report["repeats"])
    yield ""
    for aim in report["aims"]:
        unit = "ms" if " < " in aim["aim"] else "x"
        word = "met   " if aim["met"] else "MISSED"
        yield f"{word}  {aim['aim']}: {aim['value']:.2f} {unit} (in {aim['repeats_met']} of {aim['repeats']} repeats)"
    enqueued = sum(run["tasks"]["enqueued"] for repeat in report["repeats"] for run in repeat.values())
    yield ""
    if report["faults"]:
        yield from (f"FAULT   {fault}" for fault in report["faults"])
    else:
        yield f"Each of the {enqueued:,} tasks ran once; where successes are stored, each was."


def _conditions(report: Mapping[str, Any]) -> Iterator[str]:
    machine = report["machine"]
    counts = report["settings"]["counts"]
    yield f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; load before: {machine['load_before']}"
    yield "; ".join([*report["servers"].values(), *(f"{name} {text}" for name, text in report["packages"].items())])
    durable = ", ".join(f"{name} {text}" for name, text in report["durability"].items())
    yield f"PostgreSQL: {durable}; an fsync here: {report['disk']['fsync_p50_ms']} ms. Redis: no persistence. Restate: as it comes."
    yield (
        f"{len(report['repeats'])} interleaved repeats of {counts['single']:,} single, {counts['bulk']:,} bulk,"
        f" {counts['idle']:,} idle; no-op bodies. Ratios are taken within a repeat; under {TIE:.0%} is a tie."
    )
    yield ""
    for name in report["settings"]["contenders"]:
        contender = CONTENDERS[name]
        yield f"{contender.title}: {contender.processes}. Stores {contender.stored}."
        yield f"    acknowledged {contender.acknowledged}; bulk by {contender.bulk}"


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for figure in FIGURES:
        mine = [row for row in rows if row["figure"] == figure.name]
        if not mine:
            continue
        yield ""
        heading = f"{figure.title} ({figure.unit})"
        yield f"{heading:<36}{'median':>10}{'min':>10}{'max':>10}   ratio (spread) to"
        for row in mine:
            ratios = "; ".join(
                f"{found['ratio']:.2f} ({found['spread']:.0%}) {CONTENDERS[base].title}"
                + (": tie" if found["verdict"] == "tie" else "")
                for base, found in row["against"].items()
            )
            numbers = "".join(f"{row[key]:>10,.{_digits(figure)}f}" for key in ("median", "minimum", "maximum"))
            yield f"  {CONTENDERS[row['contender']].title:<34}{numbers}   {ratios}".rstrip()


def _processor(repeats: Sequence[Repeat]) -> Iterator[str]:
    """Medians: what noise spares. Of waiting tasks it is the drain, of those that are pushed the bulk, end to end."""
    yield ""
    yield "processor a task (ms, medians), from the bulk's first body to its last; where sends are pushed, enqueue too"
    for name, contender in CONTENDERS.items():
        runs = [repeat[name]["cpu"] for repeat in repeats if name in repeat]
        if runs:
            parts = {part: Summary.of([run[part] for run in runs if part in run]).median for part in runs[0]}
            shown = ", ".join(
                f"{part} {value:.2f}" for part, value in parts.items() if part != "all" and value >= _SHOWN
            )
            yield f"  {contender.title:<34}{parts['all']:>10.2f}   {shown}"


def _digits(figure: Figure) -> int:
    return 1 if figure.unit == "ms" else 0
