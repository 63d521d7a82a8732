"""A statement: SQL by its name, with its parameters and the reader of its rows; `tandem.ledger.connection` executes it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

from psycopg.types.json import Jsonb

from tandem.ledger.rows import Error, Lease

__all__ = ["FREE_EACH", "Rows", "Statement", "Value", "each", "first", "named", "of_each", "of_one", "one", "statement"]

type Rows = Sequence[tuple[Any, ...]]
type Value = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Statement[T]:
    """One named statement: what is sent, and how its rows are read.

    `together` is the same for many rows at once, where it has such a form: each parameter is a list with an element for
    each row, an answer's first column is the row's `id`, and a row that somebody has locked is left out.
    """

    name: str
    sql: str
    parameters: Mapping[str, Any]
    read: Callable[[Rows], T]
    together: str | None = None


def of_one(name: str, kind: str) -> str:
    """SQL for a parameter of a statement about one row."""
    return f"%({name})s::{kind}"


def of_each(name: str, kind: str) -> str:
    """SQL for a row's own element of a parameter, in a statement's form for many rows: `id` is the row's.

    By its place, and not by a join with the parameters: prepared while the table was small, that walked the whole of it.
    """
    return f"(%({name})s::{kind}[])[array_position(%(id)s::uuid[], id)]"


# A row that is locked is left out, for its caller to ask for alone: nobody else of a group waits for it, and who waits
# for nothing is no part of a deadlock.
FREE_EACH: Final = """free AS MATERIALIZED (
    SELECT id FROM tandem_execution WHERE id = ANY(%(id)s::uuid[]) AND {condition} FOR NO KEY UPDATE SKIP LOCKED
)"""


def statement[**P, T](
    sql: str, read: Callable[[Rows], T], /, *, together: str | None = None, **constants: Any
) -> Callable[[Callable[P, None]], Callable[P, Statement[T]]]:
    """Make a statement of a function's name and signature: what it is given are the SQL's parameters, by their names.

    A `Lease` is three of them, `id`, `fence` and `worker`; an `Error` is a JSON list of one, for a row's `errors`.
    """

    def decorate(function: Callable[P, None]) -> Callable[P, Statement[T]]:
        name, accepted = function.__name__, inspect.signature(function).parameters
        names, optional = list(accepted), {key: item.default for key, item in accepted.items()}
        given = {key: value for key, value in optional.items() if value is not inspect.Parameter.empty} | constants

        @wraps(function)
        def make(*args: P.args, **kwargs: P.kwargs) -> Statement[T]:
            parameters = dict(given)
            for key, value in (*zip(names, args, strict=False), *kwargs.items()):
                if type(value) is Lease:
                    parameters |= {"id": value.id, "fence": value.fence, "worker": value.worker}
                else:
                    parameters[key] = _parameter(value)
            return Statement(name, sql, parameters, read, together)

        return make

    return decorate


def _parameter(value: Any) -> Any:
    if isinstance(value, Error):
        return Jsonb([value.as_json()])
    return list(value) if isinstance(value, tuple | set | frozenset) else value


def each[T](kind: Callable[..., T]) -> Callable[[Rows], list[T]]:
    """Read every row, its columns as the arguments of `kind`."""
    return lambda rows: [kind(*row) for row in rows]


def named[T](kind: Callable[..., T], *names: str) -> Callable[[Rows], list[T]]:
    """Read every row, its columns as the arguments of `kind` by these names."""
    return lambda rows: [kind(**dict(zip(names, row, strict=True))) for row in rows]


def one[T](kind: Callable[..., T]) -> Callable[[Rows], T | None]:
    """Read the row that there is, if there is one."""
    return lambda rows: kind(*rows[0]) if rows else None


def first[T](kind: type[T]) -> Callable[[Rows], T | None]:  # noqa: ARG001  # its type alone
    """Read the first column, which is of this kind, of the row that there is, if there is one."""
    return lambda rows: rows[0][0] if rows else None
