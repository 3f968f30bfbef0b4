"""Values out of the reference's range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.statistics.range_violations import range_violations


def test_what_chance_brings_is_taken_off() -> None:
    assert range_violations(0.02, reference_size=99, current_size=1000).value == pytest.approx(0.0)
    assert range_violations(0.25, reference_size=9, current_size=1000).value == pytest.approx(0.05)


@pytest.mark.parametrize(("reference", "current"), [(50, 2000), (2000, 50), (300, 300)])
def test_under_no_change_it_is_zero_in_the_mean_and_rarely_surely_more(reference: int, current: int) -> None:
    rng = np.random.default_rng(9)
    found = []
    for _ in range(1500):
        rows = rng.exponential(1.0, reference)
        new = rng.exponential(1.0, current)
        rate = float(np.mean((new < rows.min()) | (new > rows.max())))
        found.append(range_violations(rate, reference_size=reference, current_size=current))
    assert np.mean([one.value for one in found]) == pytest.approx(0, abs=0.1 * 2 / reference)
    assert np.mean([one.low > 0 for one in found]) <= 0.035


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(2, 1e9), st.floats(0.01, 1e9))
def test_the_interval_holds_the_difference_and_stays_within_one(rate: float, m: float, n: float) -> None:
    value, low, high = range_violations(rate, reference_size=m, current_size=n)
    assert -1 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1


def test_a_reference_of_one_row_or_no_current_rows_says_nothing() -> None:
    assert range_violations(0.5, reference_size=1, current_size=10) == (0.0, -1.0, 1.0)
    assert range_violations(0.0, reference_size=10, current_size=0) == (0.0, -1.0, 1.0)
