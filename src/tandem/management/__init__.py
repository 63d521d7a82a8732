"""`manage.py tandem`: one module for each command."""
