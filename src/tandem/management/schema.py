"""Whether this code can use a database that a newer release has migrated."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from django.apps import apps
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    from django.db.migrations.loader import MigrationLoader

__all__ = ["too_new"]

# A column that is given for each row: it may not be null, and the database has nothing of its own for it.
COLUMNS: Final = """
SELECT table_name, column_name,
       is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO' AND is_generated = 'NEVER'
FROM information_schema.columns WHERE table_schema = ANY(current_schemas(false)) AND table_name = ANY(%s)
"""


def too_new(connection: BaseDatabaseWrapper, loader: "MigrationLoader") -> str | None:
    """Say why this code cannot use the database, where it has migrations that this code does not know.

    A column that this code reads and that is not there, or one that it does not know and that must be given, is why.
    Other changes of a newer release, such as a check, are not looked for. None where there is no such migration.
    """
    unknown = sorted(key for key in loader.applied_migrations or () if key not in loader.disk_migrations)
    labels = {label for label, _ in unknown} & loader.migrated_apps
    found = list(_differences(connection, labels)) if labels else []
    if not found:
        return None
    names = ", ".join(f"{label}.{name}" for label, name in unknown if label in labels)
    return (
        f"The database is newer than this code, which does not know the migration(s) {names}: {'; '.join(found)}."
        " Run the release that has them; or go back one first, with that release: `manage.py migrate APP MIGRATION`."
    )


def _differences(connection: BaseDatabaseWrapper, labels: set[str]) -> Iterator[str]:
    tables = {
        model._meta.db_table: {str(field.column) for field in model._meta.local_concrete_fields}  # noqa: SLF001  # Django's documented name
        for label in sorted(labels)
        for model in apps.get_app_config(label).get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy  # noqa: SLF001  # as above
        # `migrate` records what a router keeps out of this database, too.
        if router.allow_migrate_model(connection.alias, model)
    }
    there: dict[str, dict[str, bool]] = {}
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS, [list(tables)])
        for table, column, given in cursor.fetchall():
            there.setdefault(table, {})[column] = given
    for table, known in tables.items():
        columns = there.get(table, {})
        if not columns:
            yield f"it has no table {table}"
            continue
        yield from (f"{table} has no column {column}" for column in sorted(known - columns.keys()))
        yield from (
            f"{table}.{column}, which this code does not write, must be given"
            for column, given in sorted(columns.items())
            if given and column not in known
        )
