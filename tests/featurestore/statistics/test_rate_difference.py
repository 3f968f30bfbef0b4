"""The difference of two rates."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.statistics.rate_difference import rate_difference


@pytest.mark.parametrize(
    ("hits", "rows", "other_hits", "other_rows", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (10, 10, 0, 10, 0.6075, 1.0),
    ],
)
def test_the_intervals_are_those_of_newcombes_table_2(
    hits: int, rows: int, other_hits: int, other_rows: int, low: float, high: float
) -> None:
    estimate = rate_difference(other_hits / other_rows, hits / rows, reference_size=other_rows, current_size=rows)
    assert estimate.value == pytest.approx(hits / rows - other_hits / other_rows)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5.1e-5)


rates = st.floats(0, 1)
sizes = st.floats(0.01, 1e9)


@settings(deadline=None)
@given(rates, rates, sizes, sizes)
def test_the_interval_holds_the_difference_and_stays_within_one(p: float, q: float, m: float, n: float) -> None:
    estimate = rate_difference(p, q, reference_size=m, current_size=n)
    assert -1 <= estimate.low <= estimate.value + 1e-9
    assert estimate.value - 1e-9 <= estimate.high <= 1
    mirrored = rate_difference(q, p, reference_size=n, current_size=m)
    assert mirrored == pytest.approx((-estimate.value, -estimate.high, -estimate.low), abs=1e-9)


def test_a_side_without_rows_says_nothing() -> None:
    assert rate_difference(0.0, 0.5, reference_size=0, current_size=10) == (0.0, -1.0, 1.0)
