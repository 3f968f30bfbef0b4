"""Intervals against published examples and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.statistics.estimate import Estimate
from featurestore.statistics.rate_difference import rate_difference
from monitor.performance.intervals import around, block_correlation, difference, quantile, ratio, wilson

Z = quantile(0.95)
shares = st.floats(0, 1)
sizes = st.floats(1, 1e6)


def test_quantiles_are_those_of_the_tables() -> None:
    assert quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert quantile(0.95, 9) == pytest.approx(2.262157, abs=1e-6)
    assert quantile(0.95, 0) == math.inf


def test_wilson_agrees_with_newcombe_1998() -> None:
    # His Table I, method 3.
    for hits, size, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        found = wilson(hits / size, size, Z)
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_the_difference_of_two_wilson_intervals_is_newcombes_tenth_method() -> None:
    # His Table II: 56/70 - 48/80.
    found = difference(wilson(56 / 70, 70, Z), wilson(48 / 80, 80, Z))
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)


@given(shares, shares, sizes, sizes)
def test_it_is_what_the_drift_statistic_gives(one: float, other: float, n: float, m: float) -> None:
    ours = difference(wilson(one, n, Z), wilson(other, m, Z))
    theirs = rate_difference(other, one, reference_size=m, current_size=n)
    assert (max(-1, ours.low), min(1, ours.high)) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_the_ratio_of_two_symmetric_intervals_is_fiellers() -> None:
    # Fieller: the roots in k of (a - k b)^2 = z^2 (Va + k^2 Vb).
    a, b, sa, sb = 12.0, 10.0, 0.8, 0.5
    found = ratio(around(a, sa, Z, -math.inf, math.inf), around(b, sb, Z, -math.inf, math.inf))
    roots = np.roots([b * b - (Z * sb) ** 2, -2 * a * b, a * a - (Z * sa) ** 2])
    assert (found.low, found.high) == pytest.approx((min(roots), max(roots)))


def test_correlated_symmetric_intervals_are_those_of_the_variance_of_the_difference() -> None:
    a, b, sa, sb, r = 12.0, 10.0, 0.8, 0.5, 0.6
    one, other = (around(x, s, Z, -math.inf, math.inf) for x, s in ((a, sa), (b, sb)))
    error = math.sqrt(sa**2 + sb**2 - 2 * r * sa * sb)
    assert difference(one, other, r).low == pytest.approx(2 - Z * error)
    found = ratio(one, other, r)
    for k in (found.low, found.high):
        assert (a - k * b) ** 2 == pytest.approx(Z**2 * (sa**2 + k**2 * sb**2 - 2 * k * r * sa * sb))


@given(shares, shares, sizes, sizes)
def test_a_ratio_is_at_one_end_just_where_the_contrast_is(one: float, other: float, n: float, m: float) -> None:
    top, bottom = wilson(one, n, Z), wilson(other, m, Z)
    found = ratio(top, bottom)
    if other <= 0:
        assert math.isnan(found.value)
        return
    assert 0 <= found.low <= found.value <= found.high
    for k in (found.low * 0.999, found.low * 1.001):
        contrast = difference(top, Estimate(*(k * end for end in bottom)))
        assert (contrast.low > 0) == (k < found.low) or found.low == 0 or abs(contrast.low) < 1e-9


def test_nothing_known_is_an_interval_of_everything() -> None:
    assert wilson(0.5, 0, Z) == (0.5, 0, 1)
    assert around(1, 1, math.inf, -math.inf, 5) == (1, -math.inf, 5)
    assert ratio(Estimate(1, 0.5, 1.5), Estimate(1, -0.1, 2.1)).high == math.inf
    assert difference(Estimate(0, -math.inf, math.inf), Estimate(0, -1, 1)) == (0, -math.inf, math.inf)


def test_rows_that_repeat_their_block_are_worth_one_and_rows_that_do_not_are_worth_themselves() -> None:
    blocks = np.repeat(np.arange(20), 10)
    of_block = np.random.default_rng(1).normal(size=20)[blocks]
    assert block_correlation(of_block - of_block.mean(), blocks) == pytest.approx(1, abs=0.01)
    free = np.random.default_rng(2).normal(size=200)
    assert block_correlation(free - free.mean(), blocks) < 0.05
    assert block_correlation(np.zeros(200), blocks) == 0
    assert block_correlation(free, np.zeros(200, np.int64)) == 1
