"""The Kolmogorov-Smirnov distance from counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import ks_2samp

from featurestore.statistics.kolmogorov_smirnov import kolmogorov_smirnov

samples = st.lists(st.integers(-5, 5), min_size=2, max_size=60)


@settings(deadline=None)
@given(samples, samples)
def test_it_is_scipys_when_every_value_has_its_own_cell(one: list[int], two: list[int]) -> None:
    cells = [np.bincount(np.array(sample) + 5, minlength=11) for sample in (one, two)]
    ours = kolmogorov_smirnov(*cells, reference_size=len(one), current_size=len(two))
    assert ours.value == pytest.approx(ks_2samp(one, two, method="asymp").statistic, abs=1e-12)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


def test_it_is_the_closed_form_for_two_normals_on_a_fine_grid() -> None:
    grid = np.concatenate([[-np.inf], np.linspace(-6, 6.5, 2_001), [np.inf]])
    cells = [np.diff(ndtr(grid - mean)) for mean in (0.0, 0.5)]
    assert kolmogorov_smirnov(*cells, reference_size=1, current_size=1).value == pytest.approx(0.1974127, abs=1e-6)


def test_its_interval_holds_the_truth_at_least_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    truth = float(ndtr(0.25) - ndtr(-0.25))
    edges = np.linspace(-4, 4, 81)
    inside = 0
    for _ in range(300):
        one, two = (np.bincount(np.searchsorted(edges, rng.normal(mean, 1, 80)), minlength=82) for mean in (0, 0.5))
        estimate = kolmogorov_smirnov(one, two, reference_size=80, current_size=80)
        inside += estimate.low <= truth <= estimate.high
    assert inside >= 285


def test_its_interval_has_width_by_the_sizes_that_the_rows_are_worth() -> None:
    many = kolmogorov_smirnov([500, 500], [100, 900], reference_size=1000, current_size=1000)
    few = kolmogorov_smirnov([500, 500], [100, 900], reference_size=50, current_size=50)
    assert many.value == few.value == pytest.approx(0.4)
    assert many.low > 0.25 > few.low
    assert few.high > many.high


def test_a_side_without_rows_says_nothing() -> None:
    assert kolmogorov_smirnov([0, 0], [3, 4], reference_size=0, current_size=7) == (0.0, 0.0, 1.0)
    assert kolmogorov_smirnov([3, 4], [0, 0], reference_size=7, current_size=0) == (0.0, 0.0, 1.0)
