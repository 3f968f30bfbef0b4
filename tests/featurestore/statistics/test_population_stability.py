"""The population stability index from counts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import ncx2

from featurestore.statistics.population_stability import population_stability
from featurestore.statistics.stability_index import stability_index

counts = st.lists(st.integers(0, 500), min_size=3, max_size=3).filter(any)


def test_the_known_answer() -> None:
    estimate = population_stability([500, 300, 200], [400, 400, 200], reference_size=1000, current_size=1000)
    assert estimate.value == pytest.approx(0.0510825624, abs=1e-10)


def test_on_a_fine_grid_it_is_jeffreys_divergence_of_two_normals() -> None:
    grid = np.linspace(-7, 7, 4_001)
    cells = [1e15 * np.diff(ndtr(grid - mean)) for mean in (0.0, 0.5)]
    assert population_stability(*cells, reference_size=1e6, current_size=1e6).value == pytest.approx(0.25, abs=1e-6)


@settings(deadline=None)
@given(counts, counts, st.floats(1, 1e12))
def test_it_is_finite_whatever_is_empty_and_lies_in_its_interval(one: list[int], two: list[int], size: float) -> None:
    estimate = population_stability(one, two, reference_size=size, current_size=size)
    assert all(math.isfinite(number) for number in estimate)
    assert 0 <= estimate.low <= estimate.value <= estimate.high


def test_its_interval_inverts_the_non_central_chi_square_near_no_change() -> None:
    index, low, high = population_stability([500, 300, 200], [520, 290, 190], reference_size=9000, current_size=9000)
    scale = 1 / (1 / 9000 + 1 / 9000)
    assert ncx2.cdf(index * scale, 2, high * scale) == pytest.approx(0.025, abs=0.003)
    _, low, _ = population_stability([500, 300, 200], [540, 280, 180], reference_size=900, current_size=900)
    assert low == 0


def test_its_interval_takes_in_the_delta_methods_far_from_no_change() -> None:
    one, two, sizes = np.array([900.0, 80, 20]), np.array([300.0, 300, 400]), (40_000, 90_000)
    index, low, high = population_stability(one, two, reference_size=sizes[0], current_size=sizes[1])
    rng = np.random.default_rng(1)
    drawn = [
        stability_index(rng.multinomial(sizes[0], one / 1000), rng.multinomial(sizes[1], two / 1000))
        for _ in range(4000)
    ]
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(drawn), rel=0.04)
    assert (high + low) / 2 == pytest.approx(index, rel=1e-3)


def test_its_interval_begins_at_zero_while_chance_explains_the_index() -> None:
    estimate = population_stability([50, 30, 20], [40, 40, 20], reference_size=100, current_size=100)
    assert estimate.value > 0.05
    assert estimate.low == 0


def test_the_interval_of_very_many_rows_joins_that_of_many() -> None:
    ends = [
        population_stability([5, 3, 2], [4, 4, 2], reference_size=size, current_size=size)
        for size in (3.9e7, 4.0e7)  # either side of where the inversion gives way to the normal approximation
    ]
    assert ends[0].low == pytest.approx(ends[1].low, rel=1e-3)
    assert ends[0].high == pytest.approx(ends[1].high, rel=1e-3)


def test_a_side_without_rows_says_nothing() -> None:
    assert population_stability([0, 0], [3, 4], reference_size=0, current_size=7) == (0.0, 0.0, math.inf)


def test_one_cell_cannot_move() -> None:
    assert population_stability([9], [4], reference_size=9, current_size=4) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("tilt", "rows"), [(0.5, (3000, 3000)), (1.2, (9000, 1000))])
def test_the_bias_of_many_cells_is_taken_off_and_no_more(tilt: float, rows: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    p = np.ones(100) / 100
    q = p * np.exp(np.linspace(-tilt, tilt, 100))
    q /= q.sum()
    drawn = np.array(
        [
            population_stability(
                rng.multinomial(rows[0], p), rng.multinomial(rows[1], q), reference_size=rows[0], current_size=rows[1]
            )
            for _ in range(300)
        ]
    )
    truth = float(((q - p) * np.log(q / p)).sum())
    assert np.mean(drawn[:, 1] > truth) <= 0.04
    assert np.mean(drawn[:, 2] < truth) <= 0.04
    assert truth - drawn[:, 1].mean() < 1.35 * 1.96 * drawn[:, 0].std()
