"""Django's own tests of its task backends, run on Tandem: `python -m tests.django_tasks ENGINE [LABEL ...]`."""
