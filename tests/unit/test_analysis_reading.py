"""How the pages tell of a column."""

from typing import Any

import pytest

from showcase.analysis.reading import Column, shown


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "none"),
        (0, "0"),
        (0.0, "0"),
        (1234567, "1,234,567"),
        (2**63 - 1, "9,223,372,036,854,775,807"),
        (1234.5, "1,234.5"),
        (-0.12345678, "-0.1235"),
        (20.0, "20"),
        (1e-5, "1e-05"),
        (123456789012345678.0, "1.2346e+17"),
        ("2024-02-29", "2024-02-29"),
    ],
)
def test_a_value_is_shown_short_and_readable(value: float | str | None, words: str) -> None:
    assert shown(value) == words


def column(**found: Any) -> Column:
    return Column(place=3, name="a", type="text", phase="succeeded", found={"count": 5, "missing": 2, **found})


def test_numbers_are_told_in_the_order_in_which_one_reads_them() -> None:
    # PostgreSQL gives a JSON object back in an order of its own.
    numbers = {
        "mean": 2.5,
        "median": 2.0,
        "maximum": 5,
        "minimum": 1,
        "infinite": 0,
        "skewness": None,
        "first_quartile": 1.5,
        "third_quartile": 3.5,
        "standard_deviation": 1.0,
        "outliers": {"count": 2, "lower": -1.5, "upper": 1e9, "examples": [{"row": 1200, "value": -7.0}]},
    }
    described = column(numbers=numbers, distinct=4, more=False, picture="x/y.png")
    assert described.facts == [
        ("Values", "5"),
        ("Missing", "2"),
        ("Different values", "4"),
        ("Minimum", "1"),
        ("First quartile", "1.5"),
        ("Median", "2"),
        ("Third quartile", "3.5"),
        ("Maximum", "5"),
        ("Mean", "2.5"),
        ("Standard deviation", "1"),
        ("Skewness", "none"),
        ("Infinite", "0"),
    ]
    assert described.summary == "1 to 5, mean 2.5"
    assert described.outliers == [("1,200", "-7")]
    assert described.fences == "below -1.5 or above 1,000,000,000"
    assert described.picture == "column-3.png"


def test_other_columns_are_told_in_their_own_words() -> None:
    most = [{"value": value, "number": 1} for value in "wxyz"]
    texts = {"shortest": 1, "longest": 1, "mean_length": 1.0, "most_frequent": most}
    described = column(texts=texts, distinct=100_000, more=True, picture="")
    assert described.summary == "w, x, y"
    assert described.most_frequent == [("w", "1"), ("x", "1"), ("y", "1"), ("z", "1")]
    assert described.missing == "2"
    assert described.distinct == "more than 100,000"
    assert described.picture == ""
    assert column(times={"first": "2024-01-01", "last": "2024-02-01"}).summary == "2024-01-01 to 2024-02-01"
    assert column(booleans={"true": 3, "false": 2}).summary == "true 3, false 2"
    nested = column()
    assert (nested.summary, nested.distinct, nested.facts) == ("", "", [("Values", "5"), ("Missing", "2")])
    assert column(count=0, numbers={"minimum": None}).summary == ""
