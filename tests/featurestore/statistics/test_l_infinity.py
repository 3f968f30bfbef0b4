"""The largest difference of shares."""

import numpy as np
import pytest
from scipy.stats import binomtest

from featurestore.statistics.l_infinity import l_infinity


def test_it_is_the_difference_of_the_category_that_moved_most() -> None:
    found = l_infinity([50, 30, 20], [45, 43, 12], reference_size=100, current_size=100)
    assert found.value == pytest.approx(0.13)


def test_two_categories_move_as_one_rate_does() -> None:
    found = l_infinity([20, 80], [40, 60], reference_size=100, current_size=100)
    one, two = (binomtest(hits, 100).proportion_ci(0.975, method="exact") for hits in (20, 40))
    below, above = np.hypot(0.4 - two.low, one.high - 0.2), np.hypot(two.high - 0.4, 0.2 - one.low)
    assert (found.low, found.high) == pytest.approx((0.2 - below, 0.2 + above))


def test_of_many_rare_categories_none_seems_sure_to_have_moved() -> None:
    rng = np.random.default_rng(1)
    even = np.ones(147) / 147
    found = [
        l_infinity(rng.multinomial(5000, even), rng.multinomial(500, even), reference_size=5000, current_size=500)
        for _ in range(200)
    ]
    assert np.mean([one.low > 0 for one in found]) <= 0.05
