"""What the tasks of an analysis do.

Each piece may run again after it was cut off: what it keeps has a new name, and its answer says which. Polars and
matplotlib are loaded where they are used: processes that only know of these tasks stay small.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.utils import timezone

from showcase.analysis.models import Analysis, StepRun
from showcase.tabular import UnreadableFileError
from showcase.uploads import storing
from showcase.uploads.working import Tick, find, kept, running
from tandem import Permanent

__all__ = ["correlate", "describe", "draw", "prepare", "publish", "tidy"]

_NUMBERS: Final = ("integer", "decimal number")


def prepare(analysis_id: str, tick: Tick) -> dict[str, Any]:
    """Make one typed table of the upload; `file` in the answer names it."""
    from showcase.analysis import description  # noqa: PLC0415  # see the module's docstring

    with _running(analysis_id, "prepare") as (analysis, folder):
        upload = analysis.upload
        with kept(upload.stored, "The uploaded file") as path:
            # Its own name tells whether it is meant to be Parquet; its name in the storage tells nothing.
            source = folder / f"upload{'.parquet' if upload.name.lower().endswith('.parquet') else ''}"
            source.symlink_to(path)
            target = folder / "prepared.parquet"
            try:
                found = description.prepare(source, target=target, tick=tick)
            except UnreadableFileError as error:
                raise Permanent(f"{upload.name}: {error}") from error
            return {**found, "file": storing.move(analysis.pk, target)}


def describe(analysis_id: str, file: str, name: str, tick: Tick) -> dict[str, Any]:
    """Describe one column; `picture` in the answer names its histogram, and is empty where there is none."""
    from showcase.analysis import description  # noqa: PLC0415  # see the module's docstring

    with _running(analysis_id, "describe", name) as (analysis, folder), kept(file, "The table") as source:
        histogram = folder / "histogram.png"
        found = description.describe_column(source, name, histogram=histogram, tick=tick)
        return {**found, "picture": storing.move(analysis.pk, histogram) if found["drawn"] else ""}


def correlate(analysis_id: str, file: str, columns: list[dict[str, str]]) -> dict[str, Any]:
    """Correlate the first columns of numbers; `left_out` in the answer is how many there are beyond them."""
    from showcase.analysis import description  # noqa: PLC0415  # see the module's docstring

    numbers = [column["name"] for column in columns if column["type"] in _NUMBERS]
    chosen = numbers[: description.MOST_CORRELATED]
    with _running(analysis_id, "correlate"), kept(file, "The table") as source:
        return {**description.correlations(source, chosen), "left_out": len(numbers) - len(chosen)}


def draw(analysis_id: str, file: str, correlated: dict[str, Any]) -> dict[str, str]:
    """Draw the columns of numbers together; there is nothing to draw of fewer than two that vary."""
    from showcase.analysis import description  # noqa: PLC0415  # see the module's docstring

    names = correlated["names"]
    varied = [name for place, name in enumerate(names) if correlated["coefficients"][place][place] is not None]
    with _running(analysis_id, "draw") as (analysis, folder), kept(file, "The table") as source:
        if len(varied) < 2:  # noqa: PLR2004 - to be drawn against each other
            return {}
        chart, scatter = folder / "correlations.png", folder / "scatter.png"
        description.correlation_chart(correlated, chart)
        description.scatter_matrix(source, varied[: description.MOST_SCATTERED], scatter)
        return {"correlations": storing.move(analysis.pk, chart), "scatter": storing.move(analysis.pk, scatter)}


def publish(analysis_id: str, findings: dict[str, Any]) -> None:
    """Put all that was found on its page, in one UPDATE."""
    Analysis.objects.filter(pk=analysis_id).update(findings=findings, described_at=timezone.now())


def tidy(analysis_id: str) -> None:
    """Remove what runs left that were cut off."""
    findings = find(Analysis, analysis_id).findings or {}
    pictures = [column["picture"] for column in findings["columns"]]
    keep = {findings["prepared"]["file"], *findings["pictures"].values(), *pictures} - {""}
    storing.tidy(UUID(analysis_id), keep=keep)


@contextmanager
def _running(analysis_id: str, step: str, column: str = "") -> Iterator[tuple[Analysis, Path]]:
    analysis = find(Analysis, analysis_id)
    with running(analysis, StepRun(analysis=analysis, step=step, column=column[:300])) as folder:
        yield analysis, folder
