"""The ratio of volumes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from featurestore.statistics.volume_ratio import dispersion, volume_ratio


def test_it_is_the_rows_of_a_block_over_those_of_a_block() -> None:
    assert volume_ratio(2400, 50, reference_blocks=24).value == 0.5
    assert volume_ratio(2400, 25, reference_blocks=24, current_blocks=0.5).value == 0.5


def test_its_interval_is_that_of_the_share_of_one_side() -> None:
    found = volume_ratio(300, 80, reference_blocks=3)
    share = binomtest(80, 380).proportion_ci(0.95, method="exact")
    assert found.low == pytest.approx(3 * share.low / (1 - share.low))
    assert found.high == pytest.approx(3 * share.high / (1 - share.high))


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_its_interval_holds_the_truth_as_often_as_it_says(ratio: float, spread: float) -> None:
    rng = np.random.default_rng(1)

    def blocks(mean: float, count: int) -> np.ndarray:
        return rng.poisson(mean * (rng.gamma(1 / spread**2, spread**2, count) if spread else np.ones(count)))

    inside = 0
    for _ in range(500):
        reference, current = blocks(200, 60), blocks(200 * ratio, 1)
        found = volume_ratio(
            reference.sum(), current.sum(), reference_blocks=60, dispersion=dispersion(reference) if spread else 1.0
        )
        inside += found.low <= ratio <= found.high
    # What days differ by grows with their volume, so at twice of it the reference's dispersion is too small.
    assert inside / 500 >= (0.93 if ratio <= 1 or not spread else 0.8)


def test_the_dispersion_is_that_of_the_blocks() -> None:
    assert dispersion([8, 12, 10, 10]) == 1.0
    assert dispersion([50, 150, 100]) == pytest.approx(2500 / 100)
    assert dispersion([50]) == dispersion([]) == dispersion([0, 0]) == math.inf


@settings(deadline=None)
@given(st.integers(0, 10**12), st.integers(0, 10**12), st.floats(1, 1e6))
def test_the_ratio_is_finite_and_lies_in_its_interval(one: int, two: int, spread: float) -> None:
    value, low, high = volume_ratio(one, two, reference_blocks=90, dispersion=spread)
    assert 0 <= low <= value <= high
    assert math.isfinite(value)
    assert math.isfinite(high) or one < spread
    assert math.isinf(high) or one > 0


def test_no_rows_at_all_is_surely_less_and_no_time_says_nothing() -> None:
    assert volume_ratio(5000, 0, reference_blocks=50).high < 0.1
    assert volume_ratio(0, 0, reference_blocks=0) == (1.0, 0.0, math.inf)
    assert volume_ratio(9, 9, reference_blocks=9, dispersion=math.inf) == (1.0, 0.0, math.inf)
