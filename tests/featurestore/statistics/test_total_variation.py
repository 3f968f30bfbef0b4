"""The total variation distance from counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.statistics.total_variation import total_variation

counts = st.lists(st.integers(0, 50), min_size=4, max_size=4).filter(any)


def test_the_known_answer() -> None:
    assert total_variation([5, 3, 2], [4, 4, 2], reference_size=10, current_size=10).value == pytest.approx(0.1)


@settings(deadline=None)
@given(counts, counts)
def test_it_is_the_largest_difference_over_all_sets_of_categories(one: list[int], two: list[int]) -> None:
    p, q = np.array(one) / sum(one), np.array(two) / sum(two)
    sets = [[(number >> bit) & 1 for bit in range(4)] for number in range(16)]
    largest = max(abs(float(np.dot(chosen, p - q))) for chosen in sets)
    ours = total_variation(one, two, reference_size=sum(one), current_size=sum(two))
    assert ours.value == pytest.approx(largest, abs=1e-12)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


@pytest.mark.parametrize("current", [[0.25, 0.25, 0.25, 0.25], [0.55, 0.15, 0.15, 0.15]])
def test_its_interval_holds_the_truth_at_least_as_often_as_it_says(current: list[float]) -> None:
    rng = np.random.default_rng(3)
    truth = float(np.abs(np.array(current) - 0.25).sum() / 2)
    inside = 0
    for _ in range(400):
        one, two = rng.multinomial(60, [0.25] * 4), rng.multinomial(60, current)
        estimate = total_variation(one, two, reference_size=60, current_size=60)
        inside += estimate.low - 1e-12 <= truth <= estimate.high
    assert inside >= 380


def test_the_lower_end_takes_off_what_many_small_categories_show_by_chance() -> None:
    rng = np.random.default_rng(5)
    one, two = rng.multinomial(200, [0.005] * 200), rng.multinomial(200, [0.005] * 200)
    estimate = total_variation(one, two, reference_size=200, current_size=200)
    assert estimate.value > 0.4
    assert estimate.low == 0


def test_a_side_without_rows_says_nothing() -> None:
    assert total_variation([0, 0], [3, 4], reference_size=0, current_size=7) == (0.0, 0.0, 1.0)
