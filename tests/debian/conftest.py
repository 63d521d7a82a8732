"""Servers from Debian's packages, beside those of the integration tests; one that is missing is an error."""

from tests.servers import addresses, database, django_db_setup, servers

__all__ = ["addresses", "database", "django_db_setup", "servers"]
