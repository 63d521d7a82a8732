"""Pages to send emails and to watch them go."""

from datetime import datetime
from typing import cast
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.tasks import default_task_backend
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from showcase.emails import reading, sending
from showcase.emails.forms import BulkForm, EngineForm, MessageForm
from showcase.emails.models import Batch
from showcase.emails.tasks import newsletter
from tandem.exceptions import TandemError, UnknownTask
from tandem.ledger.models import Execution
from tandem.task import TaskResult

__all__ = ["batch", "bulk", "cancel", "execution", "recent", "retry", "send", "start_newsletter"]


@require_http_methods(["GET", "HEAD", "POST"])
def send(request: HttpRequest) -> HttpResponse:
    """Send one email; shows the form for many beside it."""
    form = MessageForm(request.POST or None, prefix="one") if request.method == "POST" else MessageForm(prefix="one")
    if request.method == "POST" and form.is_valid():
        fields = form.cleaned_data
        try:
            result = sending.send_one(
                recipient=fields["recipient"],
                subject=fields["subject"],
                body=fields["body"],
                engine=fields["engine"],
                token=str(fields["token"]),
            )
        except (TandemError, InvalidTask) as error:
            form.add_error(None, str(error))
        else:
            return redirect("emails:execution", pk=result.id)
    return _forms(request, form=form, bulk_form=BulkForm(prefix="many"))


@require_POST
def bulk(request: HttpRequest) -> HttpResponse:
    """Send one email for each row of a CSV."""
    form = BulkForm(request.POST, request.FILES, prefix="many")
    if form.is_valid():
        fields = form.cleaned_data
        try:
            sent = sending.send_bulk(
                persons=form.persons,
                rejections=form.rejections,
                subject=fields["subject"],
                body=fields["body"],
                engine=fields["engine"],
                batch_id=fields["token"],
            )
        except (TandemError, InvalidTask) as error:
            form.add_error(None, str(error))
        else:
            return redirect("emails:batch", pk=sent.pk)
    return _forms(request, form=MessageForm(prefix="one"), bulk_form=form)


def _forms(request: HttpRequest, *, form: MessageForm, bulk_form: BulkForm) -> HttpResponse:
    # 422, so that a program that posts a form sees that nothing was sent.
    status = 422 if form.errors or bulk_form.errors else 200
    context = {"form": form, "bulk_form": bulk_form, "engine_form": EngineForm(prefix="news")}
    return render(request, "emails/send.html", context, status=status)


@require_POST
def start_newsletter(request: HttpRequest) -> HttpResponse:
    """Start the stepped task, whose worker one may kill."""
    form = EngineForm(request.POST, prefix="news")
    if not form.is_valid():
        return HttpResponseBadRequest("No such engine: choose celery or restate, or leave it empty.")
    result = newsletter.using(engine=form.cleaned_data["engine"] or None).enqueue("From the page")
    return redirect("emails:execution", pk=result.id)


@require_GET
def execution(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Watch one execution; `?part=1` answers what changes, for the page to reload."""
    result = _result(pk)
    row = get_object_or_404(Execution, pk=pk)
    over = result.phase in reading.OVER
    context = {
        "result": result,
        "execution": row,
        "phase": row.get_phase_display(),
        "over": over,
        "attempt": row.attempts + (0 if over and result.phase != "succeeded" else 1),
        "steps": reading.finished_steps(row),
        "errors": reading.plain_errors(error.traceback for error in result.errors),
        "to": reading.recipient_of(row),
        "engine_form": EngineForm(),
        "retryable": (over and result.phase != "succeeded") or result.phase == "parked",
    }
    template = "emails/execution_part.html" if request.GET.get("part") else "emails/execution.html"
    return render(request, template, context)


@require_POST
def cancel(_request: HttpRequest, pk: UUID) -> HttpResponse:
    """Cancel an execution; one that is over stays as it is."""
    _result(pk).cancel(by="the page")
    return redirect("emails:execution", pk=pk)


@require_POST
def retry(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Run a failed execution again from its last finished step, on another engine if one is named."""
    form = EngineForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest("No such engine: choose celery or restate, or leave it empty.")
    try:
        _result(pk).retry(engine=form.cleaned_data["engine"] or None)
    except ValueError as error:
        return HttpResponseBadRequest(str(error))
    return redirect("emails:execution", pk=pk)


def _result(pk: UUID) -> TaskResult:
    try:
        return cast("TaskResult", default_task_backend.get_result(str(pk)))
    except TaskResultDoesNotExist:
        raise Http404(f"There is no execution {pk}: it was never committed, or it was pruned.") from None
    except UnknownTask as error:
        raise Http404(str(error)) from None


@require_GET
def batch(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Watch a bulk sending."""
    found = get_object_or_404(Batch, pk=pk)
    phases = reading.batch_phases(found)
    over = {phase.label for phase in reading.OVER}
    context = {
        "batch": found,
        "phases": phases,
        "over": all(label in over for label, _ in phases),
        "lines": reading.batch_lines(found),
    }
    return render(request, "emails/batch_part.html" if request.GET.get("part") else "emails/batch.html", context)


@require_GET
def recent(request: HttpRequest) -> HttpResponse:
    """List the newest executions, a page at a time."""
    lines = reading.recent(_key(request.GET.get("before", "")))
    last = lines[-1].execution if len(lines) == reading.LISTED else None
    older = f"{last.created_at.isoformat()}_{last.pk}" if last else None
    return render(request, "emails/recent.html", {"lines": lines, "older": older})


def _key(text: str) -> tuple[datetime, UUID] | None:
    """The place in the list that `before` names; a mangled one is the list's start."""
    moment, _, pk = text.partition("_")
    try:
        created_at = parse_datetime(moment)
        return (created_at, UUID(pk)) if created_at else None
    except ValueError:
        return None
