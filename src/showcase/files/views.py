"""Pages to send files, to watch them go, and to read the reports."""

from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.tasks.exceptions import InvalidTask
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from kombu.exceptions import OperationalError

from showcase.data import samples
from showcase.executions import reading as executions
from showcase.files import reading
from showcase.files.forms import JobForm
from showcase.files.models import CHAIN, Job
from showcase.files.starting import start
from showcase.uploads import starting
from tandem.exceptions import TandemError

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["delete", "download", "files", "job", "sample"]

LISTED = 50


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def files(request: HttpRequest) -> HttpResponse:
    """Take a file; list those that were sent before."""
    form = JobForm(request)
    owner = cast("User", request.user)
    if request.method == "POST" and form.is_valid():
        fields = form.cleaned_data
        try:
            started, new = start(form.content, owner=owner, way=fields["engine"], pk=fields["token"])
        except (TandemError, InvalidTask, OperationalError) as error:
            form.add_error(None, str(error))
        else:
            return redirect(reverse("files:job", args=[started.pk]) + ("" if new else "?again=1"))
    jobs = Job.objects.filter(upload__owner=owner).select_related("upload")[:LISTED]
    return render(
        request,
        "files/files.html",
        {"form": form, "jobs": jobs, "samples": reading.SAMPLES},
        status=422 if form.errors else 200,
    )


@login_required
@require_GET
def job(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Watch a job, and read its report; `?part=1` answers what changes, for the page to reload."""
    found = _job(request, pk)
    validation = reading.validation(found)
    context: dict[str, Any] = {
        "job": found,
        "chain": found.way == CHAIN,
        "ran": reading.ran(found),
        "validation": validation,
        "kinds": reading.kinds(validation or {}),
        "again": "again" in request.GET,
        "over": found.reported_at is not None,
    }
    if found.execution is not None:
        context |= executions.watched(executions.result_of(request, found.execution))
    if request.GET.get("part"):
        return render(request, "files/job_part.html", context)
    context |= {"rejected": reading.rejected_rows(found), "revenue": reading.revenue(found)}
    return render(request, "files/job.html", context)


@login_required
@require_GET
def download(request: HttpRequest, pk: UUID, name: str) -> FileResponse:
    """Serve one of a job's files: the chart to look at, the others to keep."""
    found = _job(request, pk)
    field, kind = reading.DOWNLOADS.get(name, ("", ""))
    stored = getattr(found, field) if field else ""
    if not stored or not default_storage.exists(stored):
        raise Http404(f"{found.upload.name} has no {name}.")
    file = default_storage.open(stored)
    return FileResponse(file, as_attachment=field != "chart", filename=name, content_type=kind)


@require_GET
def sample(_request: HttpRequest, name: str) -> FileResponse:
    """Serve a small messy file to try with."""
    if name not in reading.SAMPLES:
        raise Http404(f"There is no sample {name!r}.")
    return FileResponse(samples()[name].open("rb"), as_attachment=True, filename=name)


@login_required
@require_POST
def delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Delete a job with all its files."""
    starting.delete(_job(request, pk))
    return redirect("files:files")


def _job(request: HttpRequest, pk: UUID) -> Job:
    seen = executions.visible(request, Job.objects.select_related("upload"), "upload__owner")
    return get_object_or_404(seen, pk=pk)
