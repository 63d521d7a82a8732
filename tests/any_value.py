"""Strategies for any value, text and error that a body or a caller may come up with; all of them can be pickled."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from tests.work.values import Deep, Raises

__all__ = ["anything", "errors", "texts"]


def texts() -> st.SearchStrategy[str]:
    """Any text: halves of characters, NUL and what looks like their escapes."""
    return st.text(st.characters()) | st.sampled_from(["\ud800", "a\0b", "\\u0000", "", "x" * 300, "caf\udce9.csv"])


def errors() -> st.SearchStrategy[BaseException]:
    """Errors with any message; those whose own methods raise; groups and chains."""
    simple = st.builds(lambda kind, text: kind(text), st.sampled_from([ValueError, KeyError, StopIteration]), texts())
    raising = st.builds(lambda text: Raises(ValueError(text)), texts())
    groups = st.builds(lambda text, one: ExceptionGroup(text, [one]), texts(), simple | raising)
    return simple | raising | groups


def anything() -> st.SearchStrategy[Any]:
    """Any value: JSON or not, kept or not."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | texts()
        | st.binary(max_size=20)
        | st.sampled_from([10**400, -(10**400), 1e300, Decimal("NaN"), Decimal(1), UUID(int=1), object])
        | st.sampled_from([timedelta.max, timedelta(days=-1), timedelta(seconds=1), date(2026, 1, 1)])
        | st.sampled_from([Deep(150), Deep(2_000), Deep(20_000)])
        | st.just(5_000).map(lambda digits: 10**digits)  # it has no repr
        | errors()
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner)
            | st.dictionaries(texts() | st.integers() | st.floats(), inner, max_size=3)
        ),
        max_leaves=5,
    )
