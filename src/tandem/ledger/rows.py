"""What the ledger's statements take and answer, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from traceback import format_exception
from typing import Any, Self
from uuid import UUID

from tandem.values import plain, said

__all__ = ["Claim", "Error", "Lease", "LeaseCheck", "NewExecution", "RecordedStep", "Reference", "Walked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a broker or runtime carries of a row, and what the relay reads of one that its engine is to see to."""

    id: UUID
    task: str
    queue: str = ""
    priority: int = 0
    dispatch_number: int = 1
    broker_epoch: str | None = None
    fence: int = 0
    invocation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExecution:
    """A row about to be inserted. `arguments` is JSON text: `{"args": [...], "kwargs": {...}}`."""

    id: UUID
    task: str
    queue: str
    priority: int
    arguments: str
    engine: str
    reason: str
    pinned: bool
    phase: str
    owner: str | None = None
    parent: UUID | None = None
    trace: Mapping[str, str] | None = None
    idempotency_key: str | None = None
    due_at: datetime | None = None
    broker_epoch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The name of one attempt, from its claim to its end; `worker` says who holds it.

    `(id, fence)` is unique in the ledger. An execution's id alone is no attempt's name: two of its attempts may run at
    once, in one process even, and what one is told is not for the other.
    """

    id: UUID
    fence: int
    worker: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim answers: all that an attempt needs to know. Positional: its fields are the statement's columns."""

    id: UUID
    task: str
    queue: str
    priority: int
    arguments: dict[str, Any]
    engine: str
    reason: str
    owner: str | None
    parent: UUID | None
    trace: dict[str, str] | None
    idempotency_key: str | None
    fence: int
    worker: str
    attempts: int
    lost_leases: int
    dispatch_number: int
    worker_ids: list[str]
    errors: list[dict[str, str]]
    created_at: datetime
    started_at: datetime
    last_attempted_at: datetime
    cancel_requested: bool

    @property
    def lease(self) -> Lease:
        """What this claim took."""
        return Lease(id=self.id, fence=self.fence, worker=self.worker)


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A durable call that an earlier attempt recorded; `tandem.ledger.models.Step` has the kinds.

    `due_in` is the seconds until it ends: above 0 for a sleep or a wait, None for a wait that never gives up.
    """

    name: str
    occurrence: int
    position: int
    kind: str
    result: Any
    due_in: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseCheck:
    """What a guarded write answered: whether the lease is held, the row was written, and a cancel was asked for."""

    held: bool
    written: bool
    cancel_requested: bool

    @classmethod
    def read(cls, rows: Sequence[tuple[Any, ...]]) -> Self:
        """Read the one row of `(held, written, cancel_requested)`."""
        held, written, cancel_requested = map(bool, rows[0])
        return cls(held=held, written=written, cancel_requested=cancel_requested)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """What a walk over a stretch of a queue's sent rows saw: how many, the `sent_at` of the last, and those it looks for.

    `at` is when it looked, by the ledger's clock.
    """

    rows: int
    last: datetime | None
    ids: tuple[UUID, ...]
    at: datetime

    @classmethod
    def read(cls, rows: Sequence[tuple[Any, ...]]) -> Self:
        """Read the one row of `(rows, last, ids, at)`."""
        count, last, ids, at = rows[0]
        return cls(rows=count, last=last, ids=tuple(ids), at=at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """One failure of an attempt, as it is kept on the row."""

    exception_class_path: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Keep `error` with its traceback, at most 20,000 characters of it (the end says what happened).

        Always of a form that PostgreSQL can keep: where the traceback cannot be made, it is what the error says.
        """
        kind = type(error)
        try:
            text = "".join(format_exception(error))
        except Exception:  # noqa: BLE001  # groups within groups past Python's recursion, and notes of any type
            text = said(error)
        return cls(
            exception_class_path=plain(f"{kind.__module__}.{kind.__qualname__}"), traceback=plain(text[-20_000:])
        )

    @property
    def line(self) -> str:
        """What went wrong, in a line."""
        return self.traceback.rstrip().rpartition("\n")[2]

    def as_json(self) -> dict[str, str]:
        """The form in the row's `errors`."""
        return {"exception_class_path": self.exception_class_path, "traceback": self.traceback}
