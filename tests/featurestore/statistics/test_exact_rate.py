"""The exact interval of a rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from featurestore.statistics.exact_rate import exact_rate


@given(st.integers(1, 300).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows))))
def test_it_is_scipys(hits: tuple[int, int]) -> None:
    low, high = exact_rate([hits[0] / hits[1]], hits[1], 0.02)
    expected = binomtest(*hits).proportion_ci(0.96, method="exact")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-9)
