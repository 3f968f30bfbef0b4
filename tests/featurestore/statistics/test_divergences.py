"""Distances of two sets of shares: what all of them have in common."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.statistics.anderson_darling import anderson_darling
from featurestore.statistics.cramer_von_mises import cramer_von_mises
from featurestore.statistics.cramers_v import cramers_v
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.hellinger import hellinger
from featurestore.statistics.jensen_shannon import jensen_shannon
from featurestore.statistics.kolmogorov_smirnov import kolmogorov_smirnov
from featurestore.statistics.l_infinity import l_infinity
from featurestore.statistics.population_stability import population_stability
from featurestore.statistics.total_variation import total_variation

#: Each with its largest value, and whether it stays when one side's rows are all there twice.
DISTANCES = {
    "anderson_darling": (anderson_darling, math.inf, False),
    "cramer_von_mises": (cramer_von_mises, 1.0, False),
    "cramers_v": (cramers_v, 1.0, False),
    "hellinger": (hellinger, 1.0, True),
    "jensen_shannon": (jensen_shannon, math.sqrt(math.log(2)), True),
    "jensen_shannon_bits": (partial(jensen_shannon, base=2), 1.0, True),
    "kolmogorov_smirnov": (kolmogorov_smirnov, 1.0, True),
    "l_infinity": (l_infinity, 1.0, True),
    "population_stability": (population_stability, math.inf, False),
    "total_variation": (total_variation, 1.0, True),
}
EACH = pytest.mark.parametrize("name", sorted(DISTANCES))
Counts = list[int]
counts = st.lists(st.integers(0, 40), min_size=5, max_size=5).filter(any)


def distance(name: str, one: Counts, two: Counts, size: float | None = None) -> Estimate:
    """Return a distance with as many rows as are counted, or as a size says."""
    of: Callable[..., Estimate] = DISTANCES[name][0]
    return of(one, two, reference_size=size or sum(one), current_size=size or sum(two))


@EACH
@settings(deadline=None, max_examples=60)
@given(one=counts, two=counts, size=st.one_of(st.none(), st.floats(0.1, 1e9)))
def test_it_is_finite_within_its_bounds_and_lies_in_its_interval(
    name: str, one: Counts, two: Counts, size: float | None
) -> None:
    value, low, high = distance(name, one, two, size)
    assert 0 <= low <= value <= high <= DISTANCES[name][1] + 1e-12
    assert math.isfinite(high)


@EACH
@settings(deadline=None, max_examples=40)
@given(one=counts, two=counts)
def test_which_side_is_which_does_not_matter(name: str, one: Counts, two: Counts) -> None:
    assert distance(name, one, two) == pytest.approx(distance(name, two, one), abs=1e-9)


@EACH
@settings(deadline=None, max_examples=40)
@given(one=counts, times=st.integers(1, 5))
def test_the_same_shares_are_no_distance_apart(name: str, one: Counts, times: int) -> None:
    value, low, _ = distance(name, [0 * one[0], *one], [0, *(times * count for count in one)], 100.0)
    # A divergence's square root makes the last digit of a sum the eighth of the distance; PSI counts half rows.
    assert value == pytest.approx(0, abs=1e-7)
    assert low == 0


@EACH
def test_cells_empty_on_both_sides_change_nothing(name: str) -> None:
    with_gaps = distance(name, [0, 30, 0, 50, 20, 0], [0, 40, 0, 30, 30, 0])
    assert with_gaps == pytest.approx(distance(name, [30, 50, 20], [40, 30, 30]), abs=1e-12)


@EACH
def test_only_shares_and_sizes_count_where_the_definition_says_so(name: str) -> None:
    one, two, twice = [30, 50, 20], [40, 30, 30], [80, 60, 60]
    assert (
        DISTANCES[name][0](one, two, reference_size=50, current_size=40)
        == pytest.approx(DISTANCES[name][0](one, twice, reference_size=50, current_size=40))
        or not DISTANCES[name][2]
    )


@EACH
@pytest.mark.parametrize(("one", "two"), [([1, 0], [0, 1]), ([1000, 0, 0], [0, 500, 500]), ([3], [4])])
def test_a_side_that_is_empty_where_the_other_is_not_makes_nothing_infinite(
    name: str, one: Counts, two: Counts
) -> None:
    assert all(math.isfinite(number) for number in distance(name, one, two))


@EACH
@pytest.mark.parametrize(
    ("one", "two", "sizes"), [([0, 0], [3, 4], (0, 7)), ([3, 4], [0, 0], (7, 0)), ([3, 4], [3, 4], (0, 7))]
)
def test_a_side_without_rows_says_nothing(name: str, one: Counts, two: Counts, sizes: tuple[int, int]) -> None:
    found = DISTANCES[name][0](one, two, reference_size=sizes[0], current_size=sizes[1])
    assert found == (0.0, 0.0, DISTANCES[name][1])


@EACH
def test_more_rows_make_the_interval_shorter(name: str) -> None:
    few, many = (distance(name, [500, 300, 200], [200, 300, 500], size) for size in (60.0, 6000.0))
    assert many.high - many.low < (few.high - few.low) / 4
    assert few.low < many.low
    assert many.low > 0.6 * many.value


@EACH
def test_a_higher_confidence_makes_the_interval_longer(name: str) -> None:
    wide, narrow = (
        DISTANCES[name][0](
            [500, 300, 200], [200, 300, 500], reference_size=300, current_size=300, confidence=confidence
        )
        for confidence in (0.99, 0.8)
    )
    assert wide.low < narrow.low <= narrow.high < wide.high


@EACH
def test_counts_of_merged_windows_are_those_of_all_rows(name: str) -> None:
    rng = np.random.default_rng(3)
    hours = rng.multinomial(50, [0.1, 0.2, 0.3, 0.4], 24)
    day = np.bincount(np.repeat(np.tile(np.arange(4), 24), hours.ravel()), minlength=4)
    assert distance(name, [100, 100, 100, 100], hours.sum(axis=0).tolist()) == distance(
        name, [100, 100, 100, 100], day.tolist()
    )


SHAPES = {
    "same": np.ones(10) / 10,
    "near": np.exp(np.linspace(-0.3, 0.3, 10)),
    "far": np.exp(np.linspace(-1.5, 1.5, 10)),
    "one tail": np.r_[np.ones(9), 3.0],
}


@EACH
@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("rows", [(400, 400), (3000, 300)])
def test_its_interval_holds_the_truth_as_often_as_it_says(
    name: str, shape: str, rows: tuple[int, int], covered: Callable[..., float]
) -> None:
    p, q = SHAPES["same"], SHAPES[shape] / SHAPES[shape].sum()
    of = DISTANCES[name][0]
    exact = [(1e12 * share * size).tolist() for share, size in ((p, rows[0]), (q, rows[1]))]
    truth = of(*exact, reference_size=1e12 * rows[0], current_size=1e12 * rows[1]).value

    def draw(rng: np.random.Generator) -> Estimate:
        return of(
            rng.multinomial(rows[0], p), rng.multinomial(rows[1], q), reference_size=rows[0], current_size=rows[1]
        )

    assert covered(truth, draw) >= 0.92  # 0.95 less two standard errors of 300 draws, and as much for the approximation


@pytest.mark.parametrize("name", ["anderson_darling", "cramer_von_mises", "hellinger", "jensen_shannon"])
@pytest.mark.parametrize("rows", [(500, 500), (5000, 500)])
def test_a_hundred_cells_of_few_rows_do_not_spoil_the_lower_end(name: str, rows: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    even = np.ones(147) / 147
    lows = [distance(name, *(rng.multinomial(size, even).tolist() for size in rows)).low for _ in range(200)]
    assert np.mean(np.array(lows) > 0) <= 0.08
