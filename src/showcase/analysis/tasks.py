"""The tasks of an analysis: the whole, and one child for each column. Both run unchanged on either engine."""

from itertools import batched
from typing import Any, Final

from showcase.analysis import work
from showcase.analysis.models import Analysis
from showcase.executions.reading import plain_errors
from showcase.uploads.working import forget, progress
from tandem import Cancelled, ChildFailed, Context, Permanent, task

__all__ = ["describe_column", "describe_dataset"]

# Of all work, in hundredths.
_PREPARE, _DESCRIBE, _CORRELATE, _DRAW = range(40), range(40, 85), range(85, 92), range(92, 100)
# What so many columns answer together fits into the ledger, whatever is in them.
_AT_ONCE: Final = 50


@task(takes_context=True, queue_name="files", retries=5, backoff=1.0, time_limit=1800)
def describe_dataset(context: Context, analysis_id: str) -> dict[str, Any]:
    """Prepare, describe each column as a child, correlate, draw, publish. After a crash it goes on where it was."""
    try:
        return _describe(context, analysis_id)
    except ChildFailed as failed:
        raise Permanent(plain_errors([failed.error or str(failed)])[0]) from failed
    except (Cancelled, Permanent):
        forget(Analysis, analysis_id)
        raise


def _describe(context: Context, analysis_id: str) -> dict[str, Any]:
    prepared = context.step("prepare", work.prepare, analysis_id, progress(context, _PREPARE, "reading"))
    file, columns = prepared["file"], prepared["columns"]
    described: list[dict[str, Any]] = []
    for names in batched((column["name"] for column in columns), _AT_ONCE):
        share = len(described) / len(columns) * len(_DESCRIBE)
        context.progress(_DESCRIBE.start + share, total=_DRAW.stop, message="describing the columns")
        described += context.gather(*(describe_column.bind(analysis_id, file, name) for name in names))
    context.progress(_CORRELATE.start, total=_DRAW.stop, message="correlating")
    correlated = context.step("correlations", work.correlate, analysis_id, file, columns)
    context.progress(_DRAW.start, total=_DRAW.stop, message="drawing")
    pictures = context.step("pictures", work.draw, analysis_id, file, correlated)
    findings = {"prepared": prepared, "columns": described, "correlations": correlated, "pictures": pictures}
    context.step("publish", work.publish, analysis_id, findings, atomic=True)
    context.step("tidy", work.tidy, analysis_id)
    context.progress(_DRAW.stop, total=_DRAW.stop, message="described")
    return {"rows": prepared["rows"], "rejected": prepared["rejected"], "columns": len(columns)}


@task(takes_context=True, queue_name="files", retries=5, backoff=1.0, time_limit=900)
def describe_column(context: Context, analysis_id: str, file: str, name: str) -> dict[str, Any]:
    """Describe one column of a prepared table; what it answers is what the page shows of it."""
    try:
        return work.describe(analysis_id, file, name, progress(context, range(100), "describing"))
    finally:
        # The owner may have deleted the analysis while the picture was being drawn.
        forget(Analysis, analysis_id)
