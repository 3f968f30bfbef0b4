"""Pooling cells with their neighbours."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.statistics.pooled_cells import LEAST_EXPECTED, pooled_cells

shares = st.lists(st.integers(0, 50), min_size=12, max_size=12).filter(any)


def test_neighbours_are_pooled_until_five_rows_are_expected() -> None:
    p, q = np.array([0.03, 0.03, 0.5, 0.38, 0.04, 0.02]), np.array([0.01, 0.05, 0.46, 0.42, 0.02, 0.04])
    one, two = pooled_cells(p, q, 100, 100)
    # The first two expect 2 and 4 of 100; the last two 3 each.
    assert np.allclose(one, [0.06, 0.5, 0.38, 0.06])
    assert np.allclose(two, [0.06, 0.46, 0.42, 0.06])
    one, _ = pooled_cells(p, q, 1000, 70)
    assert np.allclose(one, [0.56, 0.44])


@settings(deadline=None)
@given(shares, shares, st.floats(1, 1e4), st.floats(1, 1e4))
def test_each_pooled_cell_has_enough_rows_on_both_sides(p: list[int], q: list[int], m: float, n: float) -> None:
    a, b = np.array(p) / sum(p), np.array(q) / sum(q)
    one, two = pooled_cells(a, b, m, n)
    assert np.allclose([one.sum(), two.sum()], 1)
    expected = (one * m + two * n) / (m + n) * min(m, n)
    assert len(one) == 1 or expected.min() >= LEAST_EXPECTED - 1e-9
