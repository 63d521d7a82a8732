"""The table of a run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.counting import Counts

__all__ = ["Result", "heading", "line", "verdict"]

_COLUMNS = (
    ("engine", 8),
    ("rows", 6),
    ("lost", 6),
    ("stale", 6),
    ("again", 6),
    ("atomic", 7),
    ("extra", 6),
    ("cut", 5),
    ("resumed", 9),
    ("first", 8),
    ("all", 8),
    ("stale bodies", 14),
    ("longest", 9),
)
_TITLE = 44


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One fault on one engine. `problem` says what else went wrong, such as a process that did not end."""

    title: str
    engine: str
    counts: Counts
    problem: str = ""

    @property
    def is_sound(self) -> bool:
        return self.counts.is_sound and not self.problem


def heading() -> Iterator[str]:
    """What the columns mean, and their names."""
    yield "Must be 0: lost, stale (accepted from a stale attempt), again (steps run after they were recorded), atomic,"
    yield "extra (attempts that no fault explains)."
    yield "WRONG too: a process that ended by itself, and an invocation that Restate still has when all is done."
    yield "cut: bodies whose process died; resumed: longest s until such an execution was claimed again."
    yield "first, all: s from the end of the fault until the first was done, and all enqueued before then."
    yield "stale bodies: still running beside a newer body of the same execution; longest: for how many s."
    yield ""
    yield f"{'fault':<{_TITLE}}" + "".join(f"{name:>{width}}" for name, width in _COLUMNS)


def line(result: Result) -> str:
    """One row."""
    counts = result.counts
    values = (
        result.engine,
        f"{counts.executions:,}",
        str(counts.lost),
        str(counts.stale),
        str(counts.again),
        "-" if counts.atomic is None else str(counts.atomic),
        str(counts.extra),
        str(counts.cut),
        _seconds(counts.resumed),
        _seconds(counts.first),
        _seconds(counts.all),
        str(counts.stale_bodies),
        _seconds(counts.overlap),
    )
    row = f"{result.title:<{_TITLE}}" + "".join(
        f"{value:>{width}}" for value, (_, width) in zip(values, _COLUMNS, strict=True)
    )
    return row if result.is_sound else f"{row}  WRONG {result.problem}".rstrip()


def verdict(results: Sequence[Result]) -> str:
    """The last line."""
    wrong = [result for result in results if not result.is_sound]
    if not wrong:
        return f"Every count that must be 0 is 0 in all {len(results)} rows."
    names = ", ".join(f"{result.title} ({result.engine})" for result in wrong)
    return f"{len(wrong)} of {len(results)} rows are WRONG: {names}."


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
