"""Pages to send data sets, to watch them being described, and to read the descriptions."""

from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.tasks.exceptions import InvalidTask
from django.urls import reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from showcase.analysis import reading
from showcase.analysis.forms import AnalysisForm
from showcase.analysis.models import Analysis
from showcase.analysis.starting import start
from showcase.executions import reading as executions
from showcase.uploads import starting
from tandem.exceptions import TandemError
from tandem.ledger.models import Execution

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["analyses", "analysis", "delete", "download"]

LISTED = 50


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def analyses(request: HttpRequest) -> HttpResponse:
    """Take a data set; list those that were sent before."""
    form = AnalysisForm(request)
    owner = cast("User", request.user)
    if request.method == "POST" and form.is_valid():
        fields = form.cleaned_data
        try:
            started, new = start(form.content, owner=owner, way=fields["engine"], pk=fields["token"])
        except (TandemError, InvalidTask) as error:
            form.add_error(None, str(error))
        else:
            return redirect(reverse("analysis:analysis", args=[started.pk]) + ("" if new else "?again=1"))
    mine = Analysis.objects.filter(upload__owner=owner).select_related("upload").defer("findings")[:LISTED]
    status = 422 if form.errors else 200
    return render(request, "analysis/analyses.html", {"form": form, "analyses": mine}, status=status)


@login_required
@require_GET
def analysis(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Watch an analysis and read what is found so far; `?part=1` answers what changes, for the page to reload."""
    found = _analysis(request, pk)
    # Once its execution was pruned, there is the description alone.
    context: dict[str, Any] = {"over": True}
    if found.execution is not None and Execution.objects.filter(pk=found.execution).exists():
        context |= executions.watched(executions.result_of(request, found.execution))
        # After the execution, so that one that is over comes with all it found.
        found.refresh_from_db(fields=["findings", "described_at"])
    columns = reading.columns(found)
    context |= {
        "analysis": found,
        "counts": reading.counts(found, columns),
        "columns": columns,
        "runs": reading.runs(found),
        "pairs": reading.pairs(found),
        "again": "again" in request.GET,
    }
    return render(request, "analysis/part.html" if request.GET.get("part") else "analysis/analysis.html", context)


@login_required
@require_GET
@cache_control(private=True, max_age=3600)
def download(request: HttpRequest, pk: UUID, name: str) -> HttpResponseBase:
    """Serve one of an analysis's files: pictures to look at, the table and the findings to keep."""
    found = _analysis(request, pk)
    if name == "findings.json" and found.findings is not None:
        return JsonResponse(found.findings)
    stored, kind = reading.stored(found, name)
    if not stored or not default_storage.exists(stored):
        raise Http404(f"{found.upload.name} has no {name}.")
    file = default_storage.open(stored)
    return FileResponse(file, as_attachment=kind != reading.PNG, filename=name, content_type=kind)


@login_required
@require_POST
def delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Delete an analysis with all its files."""
    starting.delete(_analysis(request, pk))
    return redirect("analysis:analyses")


def _analysis(request: HttpRequest, pk: UUID) -> Analysis:
    seen = executions.visible(request, Analysis.objects.select_related("upload"), "upload__owner")
    return get_object_or_404(seen, pk=pk)
