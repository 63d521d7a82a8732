"""What the forms of several apps share."""

from typing import Final

from django import forms

__all__ = ["ENGINES", "EngineForm"]

ENGINES: Final = (("", "Where the routes say"), ("celery", "Celery"), ("restate", "Restate"))


class EngineForm(forms.Form):
    """A choice of engine; empty leaves it to the routes."""

    engine = forms.ChoiceField(choices=ENGINES, required=False, label="Engine")
