"""History: a row for what is unusual in an execution's life, and why. The usual is read from its times and steps."""

from typing import Final

__all__ = ["note"]

_MOST: Final = 100
"""Events kept of one execution, the first ones: what is retried for a week must not grow without bound."""


def note(source: str, *, kind: str, detail: str, once: bool = False) -> str:
    """SQL that writes an event for each row of `source`, a CTE with an `id`; `detail` is SQL over its columns.

    `once`: not where the execution has the same event already.
    """
    known = f"""
      AND NOT EXISTS (SELECT FROM tandem_event AS same
                      WHERE same.execution_id = {source}.id AND same.kind = '{kind}' AND same.detail = left({detail}, 500))
    """
    return f"""
    INSERT INTO tandem_event (execution_id, at, kind, detail)
    SELECT {source}.id, clock_timestamp(), '{kind}', left({detail}, 500) FROM {source}
    WHERE (SELECT count(*) FROM tandem_event AS earlier WHERE earlier.execution_id = {source}.id) < {_MOST}
    {known if once else ""}"""
