"""What Tandem raises, and what a task body may raise to steer its own retries."""

from collections.abc import Iterable
from datetime import timedelta
from difflib import get_close_matches
from typing import final

import psycopg

from tandem.values import LONGEST, seconds, shown

__all__ = [
    "AttemptOver",
    "BrokerUnavailable",
    "Cancelled",
    "ChildFailed",
    "ConfigurationError",
    "LedgerNotMigrated",
    "LedgerUnavailable",
    "OrderChanged",
    "Permanent",
    "Retryable",
    "RouteError",
    "SignalTimeout",
    "TandemError",
    "TimeLimitExceeded",
    "UnknownTask",
    "nearest",
]


def nearest(name: str, candidates: Iterable[str]) -> str:
    """End a sentence that names what does not exist: `; did you mean 'x'?`, or a full stop where nothing is near."""
    matches = get_close_matches(name, [str(candidate) for candidate in candidates], n=1)
    return f"; did you mean {matches[0]!r}?" if matches else "."


class TandemError(Exception):
    """Base of every error that Tandem itself raises for a caller to act on."""


class ConfigurationError(TandemError, ValueError):
    """A setting is missing, misspelt or out of range; the message names it, its value and the way out."""


class RouteError(TandemError, ValueError):
    """A routing rule or a call asks for what no engine can serve, or names what does not exist."""


class UnknownTask(TandemError, LookupError):
    """A row names a task that this process cannot import."""


class BrokerUnavailable(TandemError, ConnectionError):
    """A broker or runtime did not take a reference. The rows stay, the relay sends them when it is back."""


class LedgerUnavailable(TandemError, psycopg.OperationalError):
    """The ledger took no statement, whatever was in it: its server is down, ends, is full, or can only be read.

    Never the fault of what was to be written, so never the failure of a body: the same statement works once the
    ledger is back.
    """


class LedgerNotMigrated(LedgerUnavailable, RuntimeError):
    """The ledger's tables are missing or older than the code; `manage.py migrate` is the way out."""


class Permanent(TandemError):
    """Raised by a body: fails the execution at once, whatever retries are left."""


class Retryable(TandemError):
    """Raised by a body: retried while retries are left.

    `after` is the delay, in seconds or as a timedelta of at most 366 days (0 where it is past); without it the task's
    backoff decides. For an `after` that is no such delay, `InvalidValue` is raised in its place, with the message: a
    failure like any other.
    """

    after: float | None = None

    def __init__(self, message: str = "", *, after: float | timedelta | None = None) -> None:
        super().__init__(message)
        if after is not None:
            what = f"The delay of Retryable({shown(message)}, after=)"
            self.after = max(0.0, seconds(after, what=what, least=-LONGEST))


class OrderChanged(TandemError):
    """On replay the body asked for another step than the one recorded at this place.

    The code changed under a running execution. It is parked, on either engine, with its checkpoints, until `retry`
    after a fix. On Restate old revisions serve what they began, so a rollout by itself parks nothing there.
    """


class TimeLimitExceeded(TandemError, TimeoutError):
    """An attempt ran longer than its task's `time_limit`. A failure like any other: retried while retries are left."""


class Cancelled(TandemError):
    """Raised in a body at a context call, once its execution was cancelled. Clean-up may run; nothing else is recorded."""


class SignalTimeout(Permanent, TimeoutError):
    """Raised in a body by `context.wait(signal, timeout)`: no signal of that name came in time. No retry changes that."""


class ChildFailed(Permanent):
    """Raised in a body by `context.call` and `context.gather`: a child ended without success.

    `id` is the child's, `phase` how it ended (`failed`, `dead`, `cancelled`; `gone` where its row was deleted before
    the parent read it), `error` its last traceback. Not caught, it fails the parent for good, since the child had
    retries of its own; once the child was retried by hand, and succeeded, a retry of the parent goes on.
    """

    def __init__(self, *, id: str, task: str, phase: str, error: str | None) -> None:  # noqa: A002  # the field's name
        line = (error or "").rstrip().rpartition("\n")[2]
        super().__init__(f"{task} {id} {phase}{': ' if line else ''}{line}")
        self.id = id
        self.task = task
        self.phase = phase
        self.error = error


@final
class AttemptOver(BaseException):
    """The attempt no longer holds the lease, or suspended: the body must end here.

    A `BaseException`, so that no `except Exception` keeps the attempt alive; it is raised again at every later
    context call. What the attempt had recorded stays.
    """
