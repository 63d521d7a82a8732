"""Pages to send emails, one or many."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.tasks.exceptions import InvalidTask
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from showcase.emails import reading, sending
from showcase.emails.forms import BulkForm, MessageForm
from showcase.emails.models import Batch
from showcase.emails.tasks import newsletter
from showcase.executions.reading import OVER, owner_of, visible
from showcase.forms import EngineForm
from tandem.exceptions import TandemError

__all__ = ["batch", "bulk", "send", "start_newsletter"]


@login_required
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
                owner=owner_of(request),
            )
        except (TandemError, InvalidTask) as error:
            form.add_error(None, str(error))
        else:
            return redirect("executions:execution", pk=result.id)
    return _forms(request, form=form, bulk_form=BulkForm(prefix="many"))


@login_required
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
                owner=owner_of(request),
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


@login_required
@require_POST
def start_newsletter(request: HttpRequest) -> HttpResponse:
    """Start the stepped task, whose worker one may kill."""
    form = EngineForm(request.POST, prefix="news")
    if not form.is_valid():
        return HttpResponseBadRequest("No such engine: choose celery or restate, or leave it empty.")
    call = newsletter.using(engine=form.cleaned_data["engine"] or None, owner=owner_of(request))
    result = call.enqueue("From the page")
    return redirect("executions:execution", pk=result.id)


@login_required
@require_GET
def batch(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Watch a bulk sending."""
    found = get_object_or_404(visible(request, Batch.objects.all()), pk=pk)
    phases = reading.batch_phases(found)
    over = {phase.label for phase in OVER}
    context = {
        "batch": found,
        "phases": phases,
        "over": all(label in over for label, _ in phases),
        "lines": reading.batch_lines(found),
    }
    return render(request, "emails/batch_part.html" if request.GET.get("part") else "emails/batch.html", context)
