"""Pages to watch executions go, to stop them and to run them again."""

from datetime import datetime
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET, require_POST

from showcase.executions import reading
from showcase.forms import EngineForm

__all__ = ["cancel", "execution", "recent", "retry"]


@login_required
@require_GET
def execution(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Watch one execution; `?part=1` answers what changes, for the page to reload."""
    template = "executions/part.html" if request.GET.get("part") else "executions/execution.html"
    return render(request, template, reading.watched(reading.result_of(request, pk)))


@login_required
@require_POST
def cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Cancel an execution; one that is over stays as it is."""
    reading.result_of(request, pk).cancel(by="the page")
    return redirect("executions:execution", pk=pk)


@login_required
@require_POST
def retry(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Run a failed execution again from its last finished step, on another engine if one is named."""
    form = EngineForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest("No such engine: choose celery or restate, or leave it empty.")
    try:
        reading.result_of(request, pk).retry(engine=form.cleaned_data["engine"] or None)
    except ValueError as error:
        return HttpResponseBadRequest(str(error))
    return redirect("executions:execution", pk=pk)


@login_required
@require_GET
def recent(request: HttpRequest) -> HttpResponse:
    """List the newest executions, a page at a time."""
    lines = reading.recent(request, _key(request.GET.get("before", "")))
    last = lines[-1].execution if len(lines) == reading.LISTED else None
    older = f"{last.created_at.isoformat()}_{last.pk}" if last else None
    return render(request, "executions/recent.html", {"lines": lines, "older": older})


def _key(text: str) -> tuple[datetime, UUID] | None:
    """The place in the list that `before` names; a mangled one is the list's start."""
    moment, _, pk = text.partition("_")
    try:
        created_at = parse_datetime(moment)
        return (created_at, UUID(pk)) if created_at else None
    except ValueError:
        return None
