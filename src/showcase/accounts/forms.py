"""Making an account."""

from django import forms
from django.contrib.auth.forms import BaseUserCreationForm
from django.contrib.auth.models import User

__all__ = ["AccountForm"]


class AccountForm(BaseUserCreationForm[User]):
    """A name, an address for the reports, a password."""

    email = forms.EmailField(label="Email address", help_text="Reports are announced there.")

    class Meta:
        model = User
        fields = ("username", "email")
