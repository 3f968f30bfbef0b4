"""The Wasserstein distance, and the energy distance, from cells."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import energy_distance as scipys_energy_distance
from scipy.stats import wasserstein_distance

from featurestore.statistics.energy_distance import energy_distance
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.numeric_cells import NumericCells
from featurestore.statistics.wasserstein import wasserstein

Cells = Callable[..., tuple[np.ndarray, list[np.ndarray]]]
BOTH = pytest.mark.parametrize("of", [wasserstein, energy_distance])
values = st.lists(st.sampled_from([-7.0, -1.5, 0.0, 0.25, 3.0, 11.0]), min_size=1, max_size=30)
DISTINCT = np.array([-7.0, -1.5, 0.0, 0.25, 3.0, 11.0])


def of_values(numbers: np.ndarray, cuts: np.ndarray) -> NumericCells:
    """Return the cells of finite values."""
    counts = np.bincount(np.searchsorted(cuts, numbers), minlength=len(cuts) + 1).astype(float)
    return NumericCells(counts, float(numbers.min()), float(numbers.max()), float(numbers.mean()))


def compare(of: Callable[..., Estimate], one: np.ndarray, two: np.ndarray, cuts: np.ndarray, **more: float) -> Estimate:
    """Return the distance of values, each worth a row."""
    sizes = {"reference_size": len(one), "current_size": len(two), "deviation": 1.0} | more
    return of(of_values(one, cuts), of_values(two, cuts), cuts, **sizes)


@settings(deadline=None)
@given(values, values)
def test_they_are_scipys_when_every_value_has_its_own_cell(one: list[float], two: list[float]) -> None:
    for of, scipys in ((wasserstein, wasserstein_distance), (energy_distance, scipys_energy_distance)):
        found = compare(of, np.array(one), np.array(two), DISTINCT, discrete=True)
        assert found.value == pytest.approx(scipys(one, two), abs=1e-7)
        assert 0 <= found.low <= found.value <= found.high


@pytest.mark.parametrize(("mean", "deviation", "known"), [(0.5, 1.0, 0.5), (0.0, 10.0, 7.180961)])
def test_wasserstein_is_the_closed_form_for_two_normals_on_a_fine_grid(
    mean: float, deviation: float, known: float, normal_cells: Cells
) -> None:
    cuts, shares = normal_cells(mean, deviation, count=40_000)
    sides = [NumericCells(cells, cuts[0], cuts[-1]) for cells in shares]
    found = wasserstein(*sides, cuts, deviation=1.0, reference_size=1e9, current_size=1e9)
    assert found.value == pytest.approx(known, abs=1e-6)


def test_functions_that_cross_within_a_cell_are_integrated_up_to_there_and_from_there() -> None:
    one, two = NumericCells(np.array([0.0, 3, 0, 7, 0]), 0, 3), NumericCells(np.array([0.0, 1, 8, 1, 0]), 0, 3)
    found = wasserstein(one, two, [0, 1, 2, 3], deviation=1.0, reference_size=10, current_size=10)
    # The difference goes from 0 to 0.2 to -0.6 to 0.
    assert found.value == pytest.approx(0.1 + (0.2**2 + 0.6**2) / 2 / 0.8 + 0.3)
    energy = energy_distance(one, two, [0, 1, 2, 3], deviation=1.0, reference_size=10, current_size=10)
    assert energy.value**2 == pytest.approx(2 / 3 * (0.2**2 + (0.2**2 - 0.2 * 0.6 + 0.6**2) + 0.6**2))


def test_wassersteins_interval_is_the_errors_expectation_and_its_excess(normal_cells: Cells) -> None:
    cuts, shares = normal_cells(0.0, count=4_000)
    sides = [NumericCells(cells, cuts[0], cuts[-1]) for cells in shares]
    found = wasserstein(*sides, cuts, deviation=2.0, reference_size=300, current_size=600)
    scale = math.sqrt(1 / 300 + 1 / 600)
    chances = ndtr(cuts)
    expected = math.sqrt(2 / math.pi) * np.trapezoid(np.sqrt(chances * (1 - chances)), cuts)
    assert found.high == pytest.approx(scale * (expected + ndtri(0.95)) / 2, rel=1e-4)


def test_energy_is_the_closed_form_for_two_normals_on_a_fine_grid(normal_cells: Cells) -> None:
    cuts, shares = normal_cells(0.5, count=2_500)
    sides = [NumericCells(cells, cuts[0], cuts[-1]) for cells in shares]
    found = energy_distance(*sides, cuts, deviation=1.0, reference_size=1e9, current_size=1e9)
    # E|Z| of N(mean, 2), twice, less twice that of N(0, 2)
    apart = 2 * (math.sqrt(4 / math.pi) * math.exp(-(0.5**2) / 4) + 0.5 * math.erf(0.25)) - 2 * math.sqrt(4 / math.pi)
    assert found.value == pytest.approx(math.sqrt(apart), abs=1e-6)


@BOTH
def test_few_cells_tell_nearly_what_the_rows_tell(of: Callable[..., Estimate]) -> None:
    rng = np.random.default_rng(4)
    one, two = rng.lognormal(0, 1, 20_000), rng.lognormal(0.3, 1.2, 5_000)
    cuts = np.unique(np.quantile(one, np.r_[0, np.arange(1, 147) / 147, 1], method="inverted_cdf"))
    exact = (wasserstein_distance if of is wasserstein else scipys_energy_distance)(one, two)
    assert compare(of, one, two, cuts).value == pytest.approx(exact, rel=0.02)


def test_one_row_far_out_does_not_stretch_the_others_beyond_the_range() -> None:
    one, two = np.linspace(0, 1, 1000), np.r_[np.linspace(0, 1, 950), np.full(49, 1.01), 1e6]
    cuts = np.linspace(0, 1, 148)
    assert compare(wasserstein, one, two, cuts).value == pytest.approx(wasserstein_distance(one, two), rel=0.01)


@BOTH
@settings(deadline=None, max_examples=50)
@given(one=values, two=values, scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_the_features_unit_and_origin_do_not_matter(
    of: Callable[..., Estimate], one: list[float], two: list[float], scale: float, shift: float
) -> None:
    here = compare(of, np.array(one), np.array(two), DISTINCT)
    moved = compare(
        of, np.array(one) * scale + shift, np.array(two) * scale + shift, DISTINCT * scale + shift, deviation=scale
    )
    # Squares of the distance are exact to rounding, so the distance is to its root.
    assert moved == pytest.approx(here, rel=1e-6, abs=1e-5)


@BOTH
@settings(deadline=None, max_examples=50)
@given(one=values, two=values)
def test_which_side_is_which_does_not_matter(of: Callable[..., Estimate], one: list[float], two: list[float]) -> None:
    forth, back = (
        compare(of, np.array(one), np.array(two), DISTINCT),
        compare(of, np.array(two), np.array(one), DISTINCT),
    )
    assert forth == pytest.approx(back, abs=1e-9)


@BOTH
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("rows", [(300, 300), (4000, 200)])
def test_its_interval_holds_the_truth_at_least_as_often_as_it_says(
    of: Callable[..., Estimate], shift: float, rows: tuple[int, int], covered: Callable[..., float]
) -> None:
    cuts = np.linspace(-3, 3, 80)
    truth = shift
    if of is energy_distance:
        apart = math.sqrt(4 / math.pi) * math.exp(-(shift**2) / 4) + shift * math.erf(shift / 2)
        truth = math.sqrt(2 * apart - 2 * math.sqrt(4 / math.pi))

    def draw(rng: np.random.Generator) -> Estimate:
        return compare(of, rng.normal(0, 1, rows[0]), rng.normal(shift, 1, rows[1]), cuts)

    assert covered(truth, draw) >= 0.925


@BOTH
def test_its_interval_is_no_longer_than_it_has_to_be(of: Callable[..., Estimate]) -> None:
    rng = np.random.default_rng(2)
    cuts = np.linspace(-3, 3, 80)
    lows = [compare(of, rng.normal(0, 1, 500), rng.normal(0.25, 1, 500), cuts).low for _ in range(50)]
    assert np.mean(np.array(lows) > 0) > 0.8


@BOTH
def test_rows_worth_less_make_the_interval_longer(of: Callable[..., Estimate]) -> None:
    one, two = np.linspace(0, 1, 400), np.linspace(0.2, 1.2, 400)
    many, few = (
        compare(of, one, two, np.linspace(0, 1, 50), reference_size=size, current_size=size) for size in (400, 4)
    )
    assert many.value == few.value
    assert few.high - few.value == pytest.approx(10 * (many.high - many.value))


@BOTH
def test_nothing_is_known_without_rows_sizes_or_cuts(of: Callable[..., Estimate]) -> None:
    some, none = of_values(np.array([1.0, 2.0]), np.array([1.5])), NumericCells(np.zeros(2), math.inf, -math.inf)
    for one, two, sizes in ((none, some, (0, 2)), (some, none, (2, 0)), (some, some, (0, 2))):
        found = of(one, two, [1.5], deviation=1.0, reference_size=sizes[0], current_size=sizes[1])
        assert found == (0.0, 0.0, math.inf)
    uncut = NumericCells(np.array([2.0]), 1.0, 2.0)
    assert of(uncut, uncut, [], deviation=1.0, reference_size=2, current_size=2) == (0.0, 0.0, math.inf)


@BOTH
def test_a_constant_that_moves_moves_infinitely_many_deviations_and_none_surely(of: Callable[..., Estimate]) -> None:
    cuts = np.array([np.nextafter(3.0, -math.inf), 3.0])
    same = compare(of, np.full(9, 3.0), np.full(9, 3.0), cuts, deviation=0.0)
    moved = compare(of, np.full(9, 3.0), np.full(9, 4.0), cuts, deviation=0.0)
    assert same == (0.0, 0.0, math.inf)
    assert moved == (math.inf, 0.0, math.inf)


@BOTH
def test_numbers_near_the_largest_float_give_an_answer(of: Callable[..., Estimate]) -> None:
    cuts = np.array([-1.7e308, 0.0, 1.7e308])
    one, two = (
        NumericCells(np.array([0.0, 5, 5, 0]), -1e308, 1e308),
        NumericCells(np.array([0.0, 1, 9, 0]), -1e308, 1e308),
    )
    for deviation in (1e308, math.inf):
        found = of(one, two, cuts, deviation=deviation, reference_size=10, current_size=10)
        assert not any(math.isnan(number) for number in found)
