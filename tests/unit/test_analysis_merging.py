"""Whatever the chunks, the same findings."""

import math
import statistics
from collections import Counter
from functools import reduce
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showcase.analysis.description.bins import Bins
from showcase.analysis.description.correlations import Comoments
from showcase.analysis.description.frequencies import Frequencies
from showcase.analysis.description.moments import Moments

always = settings(deadline=None, derandomize=True)
# Thousandths: the squares of much smaller numbers are beyond floating point.
thousandths = st.integers(-(10**9), 10**9).map(lambda units: units / 1000)
numbers = st.lists(thousandths, min_size=1, max_size=60)
cuts = st.lists(st.integers(0, 60), max_size=6).map(sorted)
words = st.lists(st.sampled_from("aaabbcdefgh"), max_size=60)


def parts[Item](items: list[Item], places: list[int]) -> list[list[Item]]:
    return [items[start:end] for start, end in pairwise([0, *places, len(items)])]


def array(values: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64)


@always
@given(numbers, cuts)
def test_moments_of_any_parts_are_those_of_the_whole(values: list[float], places: list[int]) -> None:
    merged = reduce(Moments.merge, (Moments.of(array(part)) for part in parts(values, places)), Moments())
    spread = max(values) - min(values)
    assert merged.count == len(values)
    assert (merged.minimum, merged.maximum) == (min(values), max(values))
    assert merged.average() == pytest.approx(statistics.mean(values), rel=1e-12, abs=1e-12 * spread)
    if len(values) > 1:
        expected = statistics.stdev(values)
        assert merged.standard_deviation() == pytest.approx(expected, rel=1e-9, abs=1e-9 * spread)


@always
@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=60), cuts)
def test_skewness_of_any_parts_is_that_of_the_whole(values: list[int], places: list[int]) -> None:
    merged = reduce(Moments.merge, (Moments.of(array(list(part))) for part in parts(values, places)), Moments())
    mean = statistics.fmean(values)
    second = math.fsum((value - mean) ** 2 for value in values) / len(values)
    third = math.fsum((value - mean) ** 3 for value in values) / len(values)
    if len(set(values)) == 1:
        assert merged.skewness() is None
    else:
        assert merged.skewness() == pytest.approx(third / second**1.5, rel=1e-9, abs=1e-9)


@always
@given(st.lists(st.tuples(st.integers(-1000, 1000), thousandths), max_size=60), cuts)
def test_correlation_of_any_parts_is_that_of_the_whole(pairs: list[tuple[int, float]], places: list[int]) -> None:
    merged = Comoments()
    for part in parts(pairs, places):
        left, right = (array([pair[side] for pair in part]) for side in (0, 1))
        merged = merged.merge(Comoments.of(left, right))
    assert merged.count == len(pairs)
    varied = [
        max(side) - min(side) if side else 0 for side in ([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    ]
    if 0 in varied:
        assert merged.coefficient() is None
    else:
        expected = statistics.correlation([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        assert merged.coefficient() == pytest.approx(expected, abs=1e-9)


@always
@given(words, cuts)
def test_counts_of_any_parts_are_those_of_the_whole(values: list[str], places: list[int]) -> None:
    merged = reduce(
        Frequencies.merge, (Frequencies.of(pl.Series(part, dtype=pl.String)) for part in parts(values, places))
    )
    assert dict(merged.counts.iter_rows()) == Counter(values)
    assert merged.distinct() == {"distinct": len(set(values)), "more": False}


@always
@given(words, cuts)
def test_past_the_limit_no_value_is_lost_that_comes_often(values: list[str], places: list[int]) -> None:
    merged = reduce(
        Frequencies.merge, (Frequencies.of(pl.Series(part, dtype=pl.String), most=4) for part in parts(values, places))
    )
    counted = Counter(values)
    assert merged.complete == (len(counted) <= 4)
    assert merged.counts.height <= 4
    often = {value for value, number in counted.items() if number * 5 > len(values)}
    assert often <= set(merged.counts["value"])
    recounted = merged.recount(pl.Series(values, dtype=pl.String))
    assert dict(recounted.iter_rows()) == {value: counted[value] for value in merged.counts["value"]}


@always
@given(numbers, cuts)
def test_bins_hold_every_number_once(values: list[float], places: list[int]) -> None:
    bins = Bins.between(min(values), max(values), whole=False)
    assert bins is not None
    whole = bins.count(array(values))
    assert whole.sum() == len(values)
    merged = [bins.count(array(part)) for part in parts(values, places)]
    assert np.array_equal(np.sum(merged, axis=0), whole)


def test_bins_of_whole_numbers_hold_as_many_of_them_each() -> None:
    bins = Bins.between(1, 100, whole=True)
    assert bins == Bins(start=0.5, end=102.5, number=34)
    assert bins is not None
    assert bins.count(np.arange(1.0, 101.0)).tolist() == [3] * 33 + [1]


@pytest.mark.parametrize(("low", "high"), [(-1.7e308, 1.7e308), (0.0, 1e-310)])
def test_what_floating_point_cannot_divide_has_no_bins(low: float, high: float) -> None:
    assert Bins.between(low, high, whole=False) is None


def test_a_constant_is_one_however_it_is_rounded() -> None:
    moments = Moments.of(array([0.1] * 999)).merge(Moments.of(array([0.1] * 10)))
    assert moments.average() == 0.1
    assert moments.standard_deviation() == 0
    assert moments.skewness() is None


def test_numbers_beyond_floating_point_have_no_moments_instead_of_wrong_ones() -> None:
    moments = Moments.of(array([1.7e308, -1.7e308, 1e308])).merge(Moments.of(array([-1e308])))
    assert moments.standard_deviation() is None
    assert moments.skewness() is None


def test_a_large_offset_takes_no_digits_of_the_deviation() -> None:
    values = [1e9 + offset for offset in (4.0, 7.0, 13.0, 16.0)]
    merged = Moments.of(array(values[:1])).merge(Moments.of(array(values[1:])))
    assert merged.standard_deviation() == pytest.approx(math.sqrt(30), rel=1e-12)
