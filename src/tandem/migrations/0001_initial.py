"""The ledger's tables."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def leave_room(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Leave room in each page for claim and heartbeat to update rows in place (HOT), and vacuum by count of rows."""
    if editor.connection.vendor != "postgresql":
        return
    editor.execute(
        "ALTER TABLE tandem_execution SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,"
        " autovacuum_vacuum_threshold = 1000)"
    )
    editor.execute("ALTER TABLE tandem_progress SET (fillfactor = 70)")
    editor.execute("ALTER TABLE tandem_worker SET (fillfactor = 50)")


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Execution",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("task", models.CharField(max_length=255)),
                ("queue", models.CharField(max_length=100)),
                ("priority", models.SmallIntegerField(db_default=0)),
                ("arguments", models.JSONField()),
                ("engine", models.CharField(max_length=20)),
                ("reason", models.CharField(max_length=255)),
                ("pinned", models.BooleanField(db_default=False)),
                ("owner", models.CharField(max_length=255, null=True)),
                ("parent", models.UUIDField(null=True)),
                ("trace", models.JSONField(null=True)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                (
                    "phase",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("deferred", "Deferred"),
                            ("retrying", "Retrying"),
                            ("held", "Held"),
                            ("sleeping", "Sleeping"),
                            ("waiting", "Waiting"),
                            ("parked", "Parked"),
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("dead", "Dead"),
                            ("cancelled", "Cancelled"),
                        ],
                        max_length=12,
                    ),
                ),
                ("outcome", models.CharField(max_length=12, null=True)),
                ("result", models.JSONField(null=True)),
                ("errors", models.JSONField(db_default=models.Value([], models.JSONField()))),
                ("created_at", models.DateTimeField()),
                ("due_at", models.DateTimeField(null=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("last_attempted_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("sent_at", models.DateTimeField(null=True)),
                ("broker_epoch", models.CharField(max_length=40, null=True)),
                ("dispatch_number", models.IntegerField(db_default=1)),
                ("invocation", models.CharField(max_length=100, null=True)),
                ("fence", models.IntegerField(db_default=0)),
                ("attempts", models.IntegerField(db_default=0)),
                ("lost_leases", models.IntegerField(db_default=0)),
                ("wake_generation", models.IntegerField(db_default=0)),
                ("worker", models.CharField(max_length=255, null=True)),
                ("worker_ids", models.JSONField(db_default=models.Value([], models.JSONField()))),
                ("lease_expires_at", models.DateTimeField(null=True)),
                ("cancel_requested_at", models.DateTimeField(null=True)),
                ("cancelled_by", models.CharField(max_length=255, null=True)),
            ],
            options={
                "db_table": "tandem_execution",
            },
        ),
        migrations.CreateModel(
            name="Override",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=10)),
                ("pattern", models.CharField(blank=True, max_length=255)),
                ("engine", models.CharField(blank=True, max_length=20)),
                ("percent", models.DecimalField(decimal_places=2, max_digits=5, null=True)),
                ("salt", models.CharField(blank=True, max_length=100)),
                ("reason", models.CharField(blank=True, max_length=255)),
                ("author", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "tandem_override",
            },
        ),
        migrations.CreateModel(
            name="Step",
            fields=[
                (
                    "execution",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="steps",
                        to="tandem.execution",
                    ),
                ),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "execution_id",
                        "name",
                        "occurrence",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("occurrence", models.IntegerField()),
                ("position", models.IntegerField()),
                ("kind", models.CharField(max_length=10)),
                ("result", models.JSONField(null=True)),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("fence", models.IntegerField()),
                ("worker", models.CharField(max_length=255)),
            ],
            options={
                "db_table": "tandem_step",
            },
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("id", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=20)),
                ("engine", models.CharField(blank=True, max_length=20)),
                ("queues", models.JSONField(default=list)),
                ("concurrency", models.IntegerField(default=1)),
                ("running", models.IntegerField(default=0)),
                ("stuck", models.IntegerField(default=0)),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
            ],
            options={
                "db_table": "tandem_worker",
            },
        ),
        migrations.CreateModel(
            name="Progress",
            fields=[
                (
                    "execution",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="progress_row",
                        serialize=False,
                        to="tandem.execution",
                    ),
                ),
                ("current", models.FloatField()),
                ("total", models.FloatField(null=True)),
                ("message", models.CharField(max_length=255)),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "db_table": "tandem_progress",
            },
        ),
        migrations.AddIndex(
            model_name="execution",
            index=models.Index(fields=["created_at", "id"], name="tandem_execution_page"),
        ),
        migrations.AddIndex(
            model_name="execution",
            index=models.Index(
                condition=models.Q(("outcome__isnull", True)),
                fields=["engine", "queue", "due_at", "sent_at"],
                name="tandem_execution_due",
            ),
        ),
        migrations.AddIndex(
            model_name="execution",
            index=models.Index(
                condition=models.Q(("parent__isnull", False)), fields=["parent"], name="tandem_execution_children"
            ),
        ),
        migrations.AddConstraint(
            model_name="execution",
            constraint=models.UniqueConstraint(
                condition=models.Q(("idempotency_key__isnull", False)),
                fields=("task", "idempotency_key"),
                name="tandem_execution_idempotency",
            ),
        ),
        migrations.AddConstraint(
            model_name="override",
            constraint=models.UniqueConstraint(
                condition=models.Q(("pattern", ""), _negated=True), fields=("pattern",), name="tandem_override_pattern"
            ),
        ),
        migrations.AddConstraint(
            model_name="override",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind__in", ["kill", "off"]), ("pattern", "")),
                fields=("engine",),
                name="tandem_override_kill",
            ),
        ),
        migrations.AddConstraint(
            model_name="override",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "default")), fields=("kind",), name="tandem_override_default"
            ),
        ),
        migrations.CreateModel(
            name="Signal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "execution",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="signals",
                        to="tandem.execution",
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("payload", models.JSONField(null=True)),
                ("sent_at", models.DateTimeField()),
                ("sent_by", models.CharField(max_length=255, null=True)),
                ("consumed_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "tandem_signal",
                "indexes": [models.Index(fields=["execution", "name", "id"], name="tandem_signal_order")],
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "execution",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="tandem.execution",
                    ),
                ),
                ("at", models.DateTimeField()),
                ("kind", models.CharField(max_length=20)),
                ("detail", models.CharField(max_length=500)),
            ],
            options={
                "db_table": "tandem_event",
                "indexes": [models.Index(fields=["execution", "id"], name="tandem_event_order")],
            },
        ),
        migrations.CreateModel(
            name="PendingCancellation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "execution",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tandem.execution",
                    ),
                ),
                ("engine", models.CharField(max_length=20)),
                ("dispatch_number", models.IntegerField()),
                ("invocation", models.CharField(max_length=100, null=True)),
            ],
            options={"db_table": "tandem_pending_cancellation"},
        ),
        migrations.RunPython(leave_room, migrations.RunPython.noop),
    ]
