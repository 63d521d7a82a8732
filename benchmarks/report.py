"""A run's repeats as a table, and what they say of the aims."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Self

from benchmarks.catalogue import AIMS, CONTENDERS, FIGURES, Figure
from benchmarks.paired import TIE, Aim, Comparison, Summary

__all__ = ["aims", "faults", "lines", "summary"]

type Repeat = Mapping[str, Mapping[str, Any]]

_SHOWN: Final = 0.005
_WORK: Final = {"no-op": (), "3 steps": ("stepped",), "sleep and 2 children": ("workflow",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a task took: medians of the repeats."""

    cpu: Mapping[str, float]
    transactions: float
    written: float

    @classmethod
    def of(cls, repeats: Sequence[Repeat], contender: str, path: Sequence[str]) -> Self | None:
        """None where the contender has none of it."""
        found = values(repeats, contender, (*path, "usage"))
        if not found:
            return None
        return cls(
            cpu={name: median([usage["cpu"][name] for usage in found]) for name in found[0]["cpu"]},
            transactions=median([usage["transactions"] for usage in found]),
            written=median([usage["written"] for usage in found]),
        )

    @property
    def parts(self) -> str:
        """The processes that took some, in words."""
        parts = ((name, value) for name, value in self.cpu.items() if name != "all" and value >= _SHOWN)
        return ", ".join(f"{name} {value:.2f}" for name, value in parts)


def values(repeats: Sequence[Repeat], contender: str, path: Sequence[str]) -> list[Any]:
    """What one contender's repeats have at this path; empty where it has none."""
    found: list[Any] = [repeat[contender] for repeat in repeats if contender in repeat]
    for key in path:
        found = [part[key] for part in found if key in part]
    return found


def summary(repeats: Sequence[Repeat]) -> list[dict[str, Any]]:
    """Every figure of every contender, with its ratios."""
    rows = []
    for figure in FIGURES:
        for name in CONTENDERS:
            own = values(repeats, name, figure.path)
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
    return [name for name in dict.fromkeys(named) if name != contender and values(repeats, name, figure.path)]


def _ratio(own: Sequence[float], repeats: Sequence[Repeat], baseline: str, figure: Figure) -> dict[str, Any]:
    comparison = Comparison.of(own, values(repeats, baseline, figure.path))
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
        figure = _figure(aim)
        own = values(repeats, aim.contender, figure.path)
        base = values(repeats, aim.baseline, figure.path) if aim.baseline else None
        if own and base != []:
            verdict = aim.judge(own, base)
            found.append(
                {
                    "aim": _aim(aim),
                    "value": verdict.value,
                    "unit": "x" if aim.baseline else figure.unit,
                    "met": verdict.met,
                    "repeats_met": verdict.repeats_met,
                    "repeats": verdict.repeats,
                    "why": [] if verdict.met else _why(repeats, aim),
                }
            )
    return found


def _figure(aim: Aim) -> Figure:
    return next(figure for figure in FIGURES if figure.name == aim.figure)


def _aim(aim: Aim) -> str:
    figure, who = _figure(aim), CONTENDERS[aim.contender].title
    if aim.baseline is None:
        return f"{who}, {figure.title} < {aim.bound:g} {figure.unit}"
    sign = "<=" if aim.most else ">="
    return f"{who}, {figure.title} {sign} {aim.bound:g} x {CONTENDERS[aim.baseline].title}"


def _why(repeats: Sequence[Repeat], aim: Aim) -> list[str]:
    """What the tasks of both used, where a ratio was missed: a line each."""
    work = _figure(aim).work
    if work is None or aim.baseline is None:
        return []
    return [
        f"{CONTENDERS[name].title}: {used.parts}; {used.transactions:.1f} transactions that write,"
        f" {used.written / 1e3:.1f} kB of PostgreSQL's log"
        for name in (aim.contender, aim.baseline)
        if (used := Used.of(repeats, name, work))
    ]


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
    yield from _seconds(report)
    yield from _stored(report["settings"]["contenders"])
    yield ""
    for aim in report["aims"]:
        word = "met   " if aim["met"] else "MISSED"
        yield f"{word}  {aim['aim']}: {aim['value']:.2f} {aim['unit']} (in {aim['repeats_met']} of {aim['repeats']} repeats)"
        yield from (f"          {line}" for line in aim["why"])
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
        f" {counts['idle']:,} idle; no-op bodies; {counts['stepped']:,} of 3 steps, {counts['workflow']:,} workflows."
        f" Ratios are taken within a repeat; under {TIE:.0%} is a tie."
    )


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
    """Medians, by process. Of waiting no-ops it is the drain; enqueueing is in it where sends are pushed, and of steps."""
    for title, path in _WORK.items():
        found = {name: used for name in CONTENDERS if (used := Used.of(repeats, name, path))}
        if found:
            yield ""
            yield f"{title}: processor a task by process (ms), transactions that write, kB of PostgreSQL's log; medians"
        for name, used in found.items():
            yield f"  {CONTENDERS[name].title:<34}{used.transactions:>10.2f}{used.written / 1e3:>10.2f}   {used.parts}"


def _seconds(report: Mapping[str, Any]) -> Iterator[str]:
    taken = {name: values(report["repeats"], name, ("seconds",)) for name in report["settings"]["contenders"]}
    shown = "; ".join(f"{CONTENDERS[name].title} {median(found):.0f}" for name, found in taken.items() if found)
    yield ""
    yield f"seconds a repeat: {shown}; all of it {report['seconds']:,.0f}"


def _stored(names: Sequence[str]) -> Iterator[str]:
    yield ""
    yield "what each stores, and when it acknowledges"
    for name in names:
        contender = CONTENDERS[name]
        part = "" if contender.share == 1 else f"; given {contender.share:.0%} of the no-ops"
        yield f"  {contender.title:<34}stores {contender.stored}"
        yield f"  {'':<34}acknowledged {contender.acknowledged}"
        yield f"  {'':<34}{contender.processes}; bulk by {contender.bulk}{part}"


def _digits(figure: Figure) -> int:
    return 2 if figure.unit == "ms" else 0
