"""The ledger's tables.

A task exists if and only if its `Execution` row committed. Brokers and runtimes carry references to rows, so
wiping them loses nothing. At most five B-tree indexes on executions, and none names a column that claim or
heartbeat writes: both stay heap-only (HOT) updates. `outcome`, null until finish, is the only state in a predicate.
"""

from typing import ClassVar

from django.db import models

__all__ = ["Event", "Execution", "Override", "PendingCancellation", "Phase", "Progress", "Signal", "Step", "Worker"]


class Phase(models.TextChoices):
    """Where an execution is; finer than Django's four statuses (see `tandem.phases.STATUS_OF_PHASE`)."""

    QUEUED = "queued", "Queued"
    DEFERRED = "deferred", "Deferred"
    RETRYING = "retrying", "Retrying"
    HELD = "held", "Held"
    SLEEPING = "sleeping", "Sleeping"
    WAITING = "waiting", "Waiting"
    PARKED = "parked", "Parked"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    DEAD = "dead", "Dead"
    CANCELLED = "cancelled", "Cancelled"


class Execution(models.Model):
    """One call of one task, from enqueue to its outcome.

    `fence` goes up at each claim and guards every later write; `attempts` counts failures and lost leases, `lost_leases`
    the lost leases among them. `due_at` says when the relay must next send the row, `sent_at` and `broker_epoch` what was
    sent and to which life of the broker. `dispatch_number` goes up when the ledger wants a new Restate invocation, and
    `invocation` is the one that holds the row. `wake_generation` goes up whenever something came that the body may wait for.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    task = models.CharField(max_length=255)
    queue = models.CharField(max_length=100)
    priority = models.SmallIntegerField(db_default=0)
    arguments = models.JSONField()
    engine = models.CharField(max_length=20)
    reason = models.CharField(max_length=255)
    pinned = models.BooleanField(db_default=False)
    owner = models.CharField(max_length=255, null=True)  # noqa: DJ001  # null and "" would be two ways to say nobody
    parent = models.UUIDField(null=True)
    trace = models.JSONField(null=True)
    idempotency_key = models.CharField(max_length=255, null=True)  # noqa: DJ001  # null is outside the unique index

    phase = models.CharField(max_length=12, choices=Phase.choices)
    outcome = models.CharField(max_length=12, null=True)  # noqa: DJ001  # null until finished: the indexes' predicate
    result = models.JSONField(null=True)
    errors = models.JSONField(db_default=models.Value([], models.JSONField()))

    created_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    last_attempted_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    sent_at = models.DateTimeField(null=True)
    broker_epoch = models.CharField(max_length=40, null=True)  # noqa: DJ001  # null: never sent
    dispatch_number = models.IntegerField(db_default=1)
    invocation = models.CharField(max_length=100, null=True)  # noqa: DJ001  # null: no invocation has claimed it

    fence = models.IntegerField(db_default=0)
    attempts = models.IntegerField(db_default=0)
    lost_leases = models.IntegerField(db_default=0)
    wake_generation = models.IntegerField(db_default=0)
    worker = models.CharField(max_length=255, null=True)  # noqa: DJ001  # null: nobody holds it
    worker_ids = models.JSONField(db_default=models.Value([], models.JSONField()))
    lease_expires_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    cancelled_by = models.CharField(max_length=255, null=True)  # noqa: DJ001  # null: nobody

    class Meta:
        db_table = "tandem_execution"
        indexes: ClassVar = [
            models.Index(fields=["created_at", "id"], name="tandem_execution_page"),
            models.Index(
                fields=["engine", "queue", "due_at", "sent_at"],
                name="tandem_execution_due",
                condition=models.Q(outcome__isnull=True),
            ),
            models.Index(fields=["parent"], name="tandem_execution_children", condition=models.Q(parent__isnull=False)),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["task", "idempotency_key"],
                name="tandem_execution_idempotency",
                condition=models.Q(idempotency_key__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task} {self.id}"


class Step(models.Model):
    """One durable call of a body, written by the attempt that held the lease.

    `kind` is `step`; `sleep`, with the time it ends; `signal` or `call`, answered. Open ones are `waiting` (with the
    time at which they give up, or none) and `calling`: they become `wait`, `timeout` or `call` once.
    """

    pk = models.CompositePrimaryKey("execution_id", "name", "occurrence")
    # No constraint in the database: it would lock the execution's row at each step. Prune deletes both.
    execution = models.ForeignKey(
        Execution, on_delete=models.CASCADE, db_index=False, db_constraint=False, related_name="steps"
    )
    name = models.CharField(max_length=200)
    occurrence = models.IntegerField()
    position = models.IntegerField()
    kind = models.CharField(max_length=10)
    result = models.JSONField(null=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    fence = models.IntegerField()
    worker = models.CharField(max_length=255)

    class Meta:
        db_table = "tandem_step"

    def __str__(self) -> str:
        return f"{self.name}[{self.occurrence}]"


class Signal(models.Model):
    """Something a body may wait for, kept until it is consumed; those of one name in the order of their ids."""

    execution = models.ForeignKey(
        Execution, on_delete=models.CASCADE, db_index=False, db_constraint=False, related_name="signals"
    )
    name = models.CharField(max_length=200)
    payload = models.JSONField(null=True)
    sent_at = models.DateTimeField()
    sent_by = models.CharField(max_length=255, null=True)  # noqa: DJ001  # null: nobody was named
    consumed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "tandem_signal"
        indexes: ClassVar = [models.Index(fields=["execution", "name", "id"], name="tandem_signal_order")]

    def __str__(self) -> str:
        return self.name


class Event(models.Model):
    """Something unusual in an execution's life, and why: a lost lease, a retry, a cancel, what was put right."""

    execution = models.ForeignKey(
        Execution, on_delete=models.CASCADE, db_index=False, db_constraint=False, related_name="events"
    )
    at = models.DateTimeField()
    kind = models.CharField(max_length=20)
    detail = models.CharField(max_length=500)

    class Meta:
        db_table = "tandem_event"
        indexes: ClassVar = [models.Index(fields=["execution", "id"], name="tandem_event_order")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


class PendingCancellation(models.Model):
    """The cancellation outbox: an execution, or an invocation without one, that the relay has yet to have its engine drop."""

    execution = models.ForeignKey(
        Execution, on_delete=models.CASCADE, db_index=False, db_constraint=False, related_name="+"
    )
    engine = models.CharField(max_length=20)
    dispatch_number = models.IntegerField()
    invocation = models.CharField(max_length=100, null=True)  # noqa: DJ001  # null: none has claimed it

    class Meta:
        db_table = "tandem_pending_cancellation"

    def __str__(self) -> str:
        return f"{self.execution_id}.{self.dispatch_number}"


class Progress(models.Model):
    """How far a body says it is. Narrow, overwritten in place, never part of the body's own transaction."""

    execution = models.OneToOneField(
        Execution, primary_key=True, on_delete=models.CASCADE, db_constraint=False, related_name="progress_row"
    )
    current = models.FloatField()
    total = models.FloatField(null=True)
    message = models.CharField(max_length=255)
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "tandem_progress"

    def __str__(self) -> str:
        return f"{self.current}/{self.total}"


class Worker(models.Model):
    """A process that runs executions or relays them, as its last heartbeat said."""

    id = models.CharField(primary_key=True, max_length=255)
    kind = models.CharField(max_length=20)
    engine = models.CharField(max_length=20, blank=True)
    queues = models.JSONField(default=list)
    concurrency = models.IntegerField(default=1)
    running = models.IntegerField(default=0)
    stuck = models.IntegerField(default=0)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "tandem_worker"

    def __str__(self) -> str:
        return self.id


class Override(models.Model):
    """A routing rule set by a person while the system runs; later than settings and environment."""

    kind = models.CharField(max_length=10)
    pattern = models.CharField(max_length=255, blank=True)
    engine = models.CharField(max_length=20, blank=True)
    percent = models.DecimalField(max_digits=5, decimal_places=2, null=True)
    salt = models.CharField(max_length=100, blank=True)
    reason = models.CharField(max_length=255, blank=True)
    author = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "tandem_override"
        constraints: ClassVar = [
            # One rule for each of routing's slots: a pattern, an engine's kill switch, the default.
            models.UniqueConstraint(
                fields=["pattern"],
                name="tandem_override_pattern",
                condition=~models.Q(pattern=""),
            ),
            models.UniqueConstraint(
                fields=["engine"],
                name="tandem_override_kill",
                condition=models.Q(pattern="", kind__in=["kill", "off"]),
            ),
            models.UniqueConstraint(
                fields=["kind"], name="tandem_override_default", condition=models.Q(kind="default")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pattern or self.engine}"
