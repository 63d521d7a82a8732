"""Making an account; Django's own views sign in and out."""

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from showcase.accounts.forms import AccountForm

__all__ = ["create"]


@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponse:
    """Make an account and sign in to it."""
    form = AccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.save())
        return redirect("home")
    return render(request, "accounts/create.html", {"form": form}, status=422 if form.errors else 200)
