"""The demonstration's one table, and the list of what was not as expected."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Line", "Report"]

HEADINGS = ("", "Task", "Engine", "Why this engine", "Steps", "Attempts", "Duration", "Result")
WIDEST = (5, 34, 8, 34, 5, 8, 8, 44)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table; `wrong` says what was expected and is not so."""

    task: str
    engine: str
    reason: str
    steps: int
    attempts: int
    seconds: float
    result: str
    wrong: Sequence[str] = ()

    def cells(self) -> tuple[str, ...]:
        """The texts of its columns."""
        return (
            "WRONG" if self.wrong else "ok",
            self.task,
            self.engine,
            self.reason,
            str(self.steps),
            str(self.attempts),
            f"{self.seconds:.2f} s",
            self.result,
        )


@dataclass(kw_only=True)
class Report:
    """What the scenario found, in the order in which it found it."""

    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Add a line of the table."""
        self.lines.append(line)
        self.wrong.extend(f"{line.task} on {line.engine}: {words}" for words in line.wrong)

    def note(self, text: str, *, wrong: Sequence[str] = ()) -> None:
        """Add a sentence below the table."""
        self.notes.append(f"{'WRONG' if wrong else 'ok   '}  {text}")
        self.wrong.extend(f"{text}: {words}" for words in wrong)

    def table(self) -> str:
        """Render the lines; a long cell goes on below itself."""
        rows = [HEADINGS, *(line.cells() for line in self.lines)]
        widths = [
            min(widest, max(1, *map(len, column)))
            for widest, column in zip(WIDEST, zip(*rows, strict=True), strict=True)
        ]
        rendered = [_row(row, widths) for row in rows]
        rendered.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(rendered)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    columns = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, columns))
    filled = [column + [""] * (height - len(column)) for column in columns]
    return "\n".join(
        "  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()
        for parts in zip(*filled, strict=True)
    )
