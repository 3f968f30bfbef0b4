"""Mean and sum of squares: against exact fractions, however the numbers are split."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.profiles.moments import Moments, merge_moments, moments_of

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


def merged(parts: list[np.ndarray]) -> Moments:
    found = [moments_of(np.asarray(part, np.float64)) for part in parts]
    return merge_moments(Moments(*(np.array(values)[:, None] for values in zip(*found, strict=True))))


@settings(deadline=None)
@given(NUMBERS, st.lists(st.integers(0, 60), max_size=6), st.sampled_from([0.0, 1.0, -1e9, 1e12]))
def test_they_are_those_of_exact_fractions_to_twelve_digits(values: list[float], cuts: list[int], far: float) -> None:
    numbers = np.array(values) + far
    found = merged(np.split(numbers, sorted(min(cut, len(numbers)) for cut in cuts)))
    exact = [Fraction(number) for number in numbers.tolist()]
    mean = sum(exact) / len(exact)
    squares = float(sum((number - mean) ** 2 for number in exact))
    spread = float(max(exact) - min(exact))
    kept = Fraction(float(found.mean[0])) + Fraction(float(found.mean_rest[0]))
    assert abs(float(kept - mean)) <= 1e-12 * spread + 1e-30
    assert found.squares[0] == pytest.approx(squares, rel=1e-12, abs=1e-300)
    assert (found.finite[0], found.minimum[0], found.maximum[0]) == (len(exact), numbers.min(), numbers.max())


def test_parts_without_numbers_change_nothing() -> None:
    some = np.random.default_rng(1).normal(1e200, 1e190, 100)
    alone, beside = merged([some]), merged([np.zeros(0), some, np.zeros(0)])
    assert all(np.array_equal(one, two) for one, two in zip(alone, beside, strict=True))
    assert merged([np.zeros(0), np.zeros(0)]).finite.tolist() == [0]


@pytest.mark.parametrize("values", [[1.7e308, -1.7e308], [1.7e308, 1.7e308], [1.7e308, 0.0, 5e-324]], ids=str)
def test_numbers_near_the_largest_float_have_a_mean_and_an_infinite_or_no_variance(values: list[float]) -> None:
    exact = sum(map(Fraction, values)) / len(values)
    for found in (merged([np.array(values)]), merged([np.array([value]) for value in values])):
        assert found.mean[0] == pytest.approx(float(exact), rel=1e-15)
        assert found.squares[0] == (0.0 if len(set(values)) == 1 else np.inf)


def test_many_parts_merge_as_well_as_two() -> None:
    values = 1e9 + np.random.default_rng(1).normal(size=50_000)
    exact = merged([values])
    split = merged(np.array_split(values, 25_000))
    assert split.mean[0] == exact.mean[0]
    assert split.squares[0] == pytest.approx(exact.squares[0], rel=1e-13)
