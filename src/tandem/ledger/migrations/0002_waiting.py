"""What waiting, signals, child executions and history need; additive."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tandem_ledger", "0001_initial")]

    operations = [
        migrations.AddField(model_name="execution", name="wakes", field=models.IntegerField(db_default=0)),
        migrations.AlterField(model_name="step", name="finished_at", field=models.DateTimeField(null=True)),
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
                        to="tandem_ledger.execution",
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
                        to="tandem_ledger.execution",
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
            name="Nudge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "execution",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tandem_ledger.execution",
                    ),
                ),
                ("engine", models.CharField(max_length=20)),
                ("dispatch", models.IntegerField()),
                ("invocation", models.CharField(max_length=100, null=True)),
            ],
            options={"db_table": "tandem_nudge"},
        ),
    ]
