"""PostgreSQL's own time for what a connection asks.

The server's durations of parse, bind and execute (`log_duration`), sent to the client that asked. Unlike
`pg_stat_statements` and `EXPLAIN` they need no library that a packaged server lacks, put no instruments into what is
measured, and are of the product's own prepared statements, whose planning is in bind. A commit is in none of them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, Self

import psycopg

from benchmarks.paired import percentile
from tandem.ledger import connection as ledger
from tandem.ledger.statement import Statement

__all__ = ["Clock", "Spread"]

# The server's own log is told nothing of it. A commit does not wait for the disk: its time is not measured, ours is short.
_SETTINGS: Final = {
    "log_min_messages": "fatal",
    "client_min_messages": "log",
    "log_duration": "on",
    "synchronous_commit": "off",
}
_DURATION: Final = re.compile(r"duration: ([\d.]+) ms")


@dataclass(kw_only=True)
class Clock:
    """Reads the time that PostgreSQL took for what was asked on one connection."""

    connection: psycopg.Connection[Any]
    _heard: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connection.add_notice_handler(self._hear)
        for name, value in _SETTINGS.items():
            self.connection.execute(f"SET {name} = {value}".encode(), prepare=False)

    @classmethod
    def fresh(cls, **changes: Any) -> Self:
        """Open a connection as the product has them."""
        return cls(connection=ledger.connect(**changes))

    def _hear(self, said: psycopg.errors.Diagnostic) -> None:
        if found := _DURATION.match(said.message_primary or ""):
            self._heard.append(float(found[1]))

    def ask[T](self, statement: Statement[T]) -> tuple[float, T]:
        """Execute on this connection as `tandem.ledger.connection.execute` does; milliseconds, and what it reads."""
        self._heard.clear()
        with self.connection.cursor() as cursor:
            cursor.execute(statement.sql.encode(), statement.parameters)
            answer = statement.read(cursor.fetchall())
        return self._took(), answer

    def time(self, work: Callable[[], object]) -> float:
        """Milliseconds of all that `work` asks on this connection. Raises `RuntimeError` where that is nothing."""
        self._heard.clear()
        work()
        return self._took()

    def _took(self) -> float:
        if not self._heard:
            raise RuntimeError("Nothing was asked on the connection that is looked at.")
        return sum(self._heard)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Milliseconds of PostgreSQL: the middle, and what 19 of 20 do not exceed."""

    median: float
    most: float
    times: float | None = None
    apart: float | None = None

    @classmethod
    def of(cls, values: list[float]) -> Self:
        """Raises `ValueError` where there are none."""
        return cls(median=median(values), most=percentile(values, 0.95))
